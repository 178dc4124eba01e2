"""Where a request's time goes inside one worker: each part in microseconds, beside a bare Flask view.

    python -m benchmarks.request_path MODELS [--runtime litert] [--calls 2000]

Everything runs in this process, without HTTP: the WSGI call that the bridge makes, for each kind of body
of `benchmarks.serving`, in turn with a Flask application that returns two bytes. Medians over all calls; the parts are
timed where they stand, in caches that the others have used, so they cost two to three times what a loop of one shows.
"""

import argparse
import io
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask

from benchmarks.serving import bodies, served_version
from serving.api import native
from serving.app import create_app
from serving.model import predictions
from serving.model.assets import NoveltyScore
from serving.model.batcher import Batcher
from serving.model.models import Models
from serving.model.runtimes import loader
from serving.model.served import Served
from serving.observe import ENVIRON_KEY, Exchange
from serving.settings import Settings

# A part of the way, and the function that does it.
PARTS = (
    ("parse", native, "_read_batch"),
    ("model", Batcher, "predict"),
    ("score", NoveltyScore, "scores"),
    ("label", predictions, "_prediction"),
    ("write", native, "reply"),
)


def main() -> None:
    options = _options()
    # Two workers on two cores would otherwise take numpy's threads from one another, as would this.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    version = served_version(options.models)
    settings = Settings(models=version.parents[1], runtime=options.runtime)
    served = Served(loader(settings)(version, int(version.name)))
    app, bare = create_app(Models(settings, served), settings), _bare()
    seconds: dict[str, list[float]] = defaultdict(list)
    for name, owner, function in PARTS:
        setattr(owner, function, _timed(getattr(owner, function), seconds[name]))
    print(f"{'':<8}{'bare':>8}{'whole':>8}{'x bare':>8}" + "".join(f"{name:>8}" for name, *_ in PARTS) + f"{'rest':>8}")
    for kind in bodies():
        whole, beside = [], []
        for turn in range(options.calls + 50):
            if turn == 50:  # warm
                whole, beside = [], []
                for each in seconds.values():
                    each.clear()
            whole.append(_call(app, kind))
            beside.append(_call(bare, kind))
        _print(kind, whole, beside, seconds)


def _print(kind: str, whole: list[float], beside: list[float], seconds: dict[str, list[float]]) -> None:
    total, bare = statistics.median(whole), statistics.median(beside)
    parts = [statistics.median(each) * len(each) / len(whole) if each else 0.0 for each in seconds.values()]
    row = [bare, total, total / bare, *parts, total - sum(parts)]
    texts = [f"{value:8.2f}" if place == 2 else f"{value * 1e6:8.0f}" for place, value in enumerate(row)]
    print(f"{kind:<8}{''.join(texts)}")


def _call(app: Flask, kind: str) -> float:
    """Seconds of one WSGI call."""
    media_type, body = bodies()[kind]
    exchange = Exchange("POST", "/predict", "id", time.monotonic())
    exchange.received = exchange.started = exchange.began
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/predict",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1",
        "CONTENT_TYPE": media_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        ENVIRON_KEY: exchange,
    }
    statuses: list[str] = []
    begin = time.perf_counter()
    for _ in app.wsgi_app(environ, lambda status, *_: statuses.append(status)):  # type: ignore[arg-type, misc]
        pass
    seconds = time.perf_counter() - begin
    if statuses != ["200 OK"]:
        raise RuntimeError(f"the reply must be 200 OK. Received: {statuses}")
    return seconds


def _timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - begin)

    return timed


def _bare() -> Flask:
    app = Flask("bare")

    @app.post("/predict")
    def predict() -> str:
        return "ok"

    return app


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("--runtime", choices=["tensorflow", "litert"], default="litert")
    parser.add_argument("--calls", type=int, default=2000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
