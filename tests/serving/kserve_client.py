"""Asks a server through kserve's own client: images on stdin, answers on stdout. For a Python that has kserve.

python kserve_client.py http://127.0.0.1:8080 fashion_mnist < images.json
"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def main(url: str, name: str) -> None:
    images = np.array(json.load(sys.stdin), np.uint8)
    v1, v2 = (InferenceRESTClient(RESTConfig(protocol=protocol)) for protocol in ("v1", "v2"))
    answers: dict[str, object] = {
        "v1": (await v1.infer(url, {"instances": images.tolist()}, model_name=name))["predictions"],
        "ready": await v2.is_server_ready(url) and await v2.is_model_ready(url, name),
        "live": await v2.is_server_live(url),
    }
    for key, binary in (("v2", False), ("v2 binary", True)):
        tensor = InferInput("images", list(images.shape), "FP32")
        tensor.set_data_from_numpy(images.astype(np.float32), binary_data=binary)
        reply = await v2.infer(url, InferRequest(name, [tensor]), model_name=name)
        answers[key] = reply.outputs[0].as_numpy().tolist()
    try:
        await v1.infer(url, {"instances": [3]}, model_name=name)
    except Exception as error:
        answers["error"] = str(error)
    print(json.dumps(answers))


asyncio.run(main(*sys.argv[1:]))
