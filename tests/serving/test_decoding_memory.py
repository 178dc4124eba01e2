"""What decoding takes stays within its limit, whatever comes and however much at once, and nobody waits for ever."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from serving.decoding_memory import DecodingMemory
from serving.errors import DeadlineError
from serving.settings import Settings
from tests.serving import hostile

MIB = 2**20
DEADLINE = 120.0  # seconds; far more than anything here takes
KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"


def test_who_finds_too_little_memory_waits_until_there_is_enough() -> None:
    memory, begun, order = DecodingMemory(), threading.Event(), list[str]()

    def second() -> None:
        begun.set()
        with memory.taken(70 * MIB, 100 * MIB, time.monotonic() + DEADLINE):
            order.append("second")

    thread = threading.Thread(target=second)
    with memory.taken(40 * MIB, 100 * MIB, time.monotonic() + DEADLINE):
        thread.start()
        assert begun.wait(DEADLINE)
        time.sleep(0.05)
        order.append("first")
    thread.join(DEADLINE)
    assert order == ["first", "second"]


def test_nobody_waits_for_memory_beyond_the_deadline_nor_do_those_behind() -> None:
    memory, begun = DecodingMemory(), threading.Event()

    def wait(seconds: float) -> float:
        begin = time.monotonic()
        begun.set()
        with (
            pytest.raises(DeadlineError, match="waited for memory"),
            memory.taken(70 * MIB, 100 * MIB, begin + seconds),
        ):
            pass
        return time.monotonic() - begin

    with memory.taken(40 * MIB, 100 * MIB, time.monotonic() + DEADLINE), ThreadPoolExecutor() as pool:
        first = pool.submit(wait, 3.0)
        assert begun.wait(DEADLINE)
        behind = pool.submit(wait, 0.2)
        assert behind.result(DEADLINE) < first.result(DEADLINE)
    with memory.taken(100 * MIB, 100 * MIB, time.monotonic()):  # and they left all of it
        pass


def test_an_error_gives_the_memory_back() -> None:
    memory = DecodingMemory()
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), memory.taken(60 * MIB, 100 * MIB, time.monotonic()):
            raise ValueError("broken")


@pytest.fixture(scope="module")
def greedy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of image files of at most 300 KiB that take as much memory as any that are not refused."""
    folder = tmp_path_factory.mktemp("greedy")
    everything = (4096, 4096)
    for name, content in {
        "rgba.png": hostile.saved(Image.new("RGBA", everything, (9, 9, 9, 99)), "PNG"),
        "palette.png": hostile.saved(Image.new("P", everything, 1), "PNG", transparency=1),
        "paper.png": hostile.saved(Image.new("RGB", (4032, 3024), "white"), "PNG"),
        "progressive.jpg": hostile.saved(Image.new("RGB", everything, "red"), "JPEG", progressive=True),
        "scans.jpg": hostile.jpeg_of_scans(4096, 90),
        "shrunk.jpg": hostile.saved(Image.new("RGB", (2047, 2047), "white"), "JPEG"),
        "thin.png": hostile.saved(Image.new("L", (2**22, 1)), "PNG"),
        "canvas.webp": hostile.saved(Image.new("RGB", (2200, 2000), "red"), "WEBP"),
        "groups.webp": hostile.webp_of_groups(420, 11_000),
        "strip.tif": hostile.saved(
            Image.new("RGB", (2600, 2600)), "TIFF", compression="tiff_adobe_deflate", strip_size=2**30
        ),
        "screen.gif": hostile.saved(Image.new("P", everything), "GIF"),
    }.items():
        assert len(content) < 300 * 1024, name
        (folder / name).write_bytes(content)
    return folder


PEAK = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from serving.errors import InvalidImageError
from serving.images import from_files
from serving.likeness import Look
from serving.settings import Settings

def decode(content):
    try:
        from_files([("file", content)], (28, 28, 1), Settings(deadline_ms=10**6), Look(28))
    except InvalidImageError as error:  # of a white sheet
        assert "must show something" in str(error), error

contents = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())] * 2
with ThreadPoolExecutor(16) as pool:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    list(pool.map(decode, contents))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_sixteen_threads_of_greedy_images_stay_within_the_limit(greedy: Path) -> None:
    command = [sys.executable, "-c", PEAK, str(greedy)]
    environ = os.environ | {"MALLOC_ARENA_MAX": "2"}  # as `python -m serving` sets it
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=DEADLINE, check=True)
    # What they may take, what malloc keeps of it, and images too small to be counted.
    assert int(done.stdout) * 1024 < Settings().max_decoding_bytes + 48 * MIB


def limit_of(manifest: str) -> int:
    """The memory limit of the first container in a manifest, or in a patch of one, in bytes."""
    found = re.search(r"limits:[\s{]*memory: (\d+)(Mi|Gi)", (KUBERNETES / manifest).read_text())
    assert found
    return int(found[1]) * {"Mi": MIB, "Gi": 1024 * MIB}[found[2]]


@pytest.mark.parametrize(
    ("runtime", "manifests"),
    [
        ("litert", ["overlays/lite/kustomization.yaml", "kserve/inferenceservice.yaml"]),
        pytest.param("tensorflow", ["base/deployment.yaml"], marks=pytest.mark.slow),
    ],
)
def test_a_pod_outlives_greedy_images(
    runtime: str,
    manifests: list[str],
    greedy: Path,
    models: Path,
    start: Callable[..., AbstractContextManager[Any]],
) -> None:
    contents = [path.read_bytes() for path in sorted(greedy.iterdir())]
    with start(models, RUNTIME=runtime, DEADLINE_MS="100000") as server, ThreadPoolExecutor(16) as pool:
        server.wait_until_ready()

        def ask(content: bytes) -> int:
            headers = {"Content-Type": "image/*"}
            return requests.post(f"{server.url}/predict", data=content, headers=headers, timeout=DEADLINE).status_code

        assert set(pool.map(ask, contents * 2)) == {200}
        (worker,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        # Of the arbiter, what it does not share with its worker.
        peak = memory_of(int(worker), "VmHWM") + memory_of(server.process.pid, "RssAnon")
    assert peak < min(map(limit_of, manifests))


def memory_of(process: int, what: str) -> int:
    """Bytes of a figure in the status of a process: VmHWM is the most that was ever in memory."""
    found = re.search(rf"^{what}:\s+(\d+) kB$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024
