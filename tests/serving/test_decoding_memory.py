"""Decoding stays within its memory limit, whatever files come, and no request waits past its deadline."""

import gc
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from serving.errors import DeadlineError, InvalidImageError
from serving.images import files
from serving.images.memory import DecodingMemory
from serving.images.photographs import Look
from serving.settings import Settings
from tests.serving import hostile

MIB = 2**20
DEADLINE = 300.0  # seconds; far more than anything here takes
KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"


def test_a_request_waits_until_enough_memory_is_free() -> None:
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


def test_no_request_waits_for_memory_past_its_deadline_nor_do_those_queued_behind_it() -> None:
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
    with memory.taken(100 * MIB, 100 * MIB, time.monotonic()):  # all of it is free again
        pass


def test_an_error_frees_the_memory() -> None:
    memory = DecodingMemory()
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), memory.taken(60 * MIB, 100 * MIB, time.monotonic()):
            raise ValueError("broken")


@pytest.fixture(scope="module")
def greedy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small image files that need as much memory as any that are accepted."""
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
import re, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from serving.errors import InvalidImageError
from serving.images.files import from_files
from serving.images.photographs import Look
from serving.settings import Settings

def decode(content):
    try:
        from_files([("file", content)], (28, 28, 1), Settings(deadline_ms=10**6), Look(28))
    except InvalidImageError as error:  # of a white sheet
        assert "must show something" in str(error), error

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

contents = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())] * 2
with ThreadPoolExecutor(16) as pool:
    before = peak()
    list(pool.map(decode, contents))
print(peak() - before)
"""


def test_sixteen_threads_stay_within_the_limit_together(greedy: Path) -> None:
    command = [sys.executable, "-c", PEAK, str(greedy)]
    # malloc gives every large block back at once, so that the peak is of what is used, not of what it keeps for later.
    environ = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(MIB)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=DEADLINE, check=True)
    # Modules that are imported, and images that are too small to be counted, come on top.
    assert int(done.stdout) * 1024 < Settings().max_decoding_bytes + 16 * MIB


@pytest.mark.parametrize("colour", ["navy", "white"])  # a white sheet is refused
def test_decoded_images_are_gone_when_their_memory_is_free(colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = list[Image.Image]()

    class Watched(DecodingMemory):
        @contextmanager
        def taken(self, size: int, most: int, due: float) -> Iterator[None]:
            try:
                with super().taken(size, most, due):
                    yield
            finally:
                left.extend(each for each in gc.get_objects() if isinstance(each, Image.Image) and each.width == 1999)

    monkeypatch.setattr(files, "_memory", Watched())
    content = hostile.saved(Image.new("RGB", (1999, 1777), colour), "PNG")
    with suppress(InvalidImageError):
        files.from_files([("file", content)], (28, 28, 1), Settings(), Look(28))
    assert not left


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
def test_a_pod_stays_within_its_memory_limit(
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
        (worker,) = server.workers()
        # Of the arbiter, what it does not share with its worker.
        peak = memory_of(worker, "VmHWM") + memory_of(server.process.pid, "RssAnon")
    assert peak < min(map(limit_of, manifests))


def memory_of(process: int, what: str) -> int:
    """Bytes of a figure in the status of a process: VmHWM is the most that was ever in memory."""
    found = re.search(rf"^{what}:\s+(\d+) kB$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024
