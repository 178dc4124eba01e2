"""A long search of tiny trials: its memory from beginning to end, and what a second worker gains.

    python -m benchmarks.tuning_strain

The trials are one epoch on a few thousand of Fashion-MNIST's images, so that they do not fill two cores. Memory is what
the search and its workers hold together (proportional set size), looked at ten times a second; the search is compared
in its second tenth and its last, for in the first one everything is loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.serving import proportional_memory
from registry.text import table
from trainer.data.idx import FILES
from trainer.data.load import load


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.tuning_strain", description=__doc__)
    options.add_argument("--artifacts", type=Path, default=os.environ.get("ARTIFACTS", "artifacts"))
    options.add_argument("--trials", type=int, default=100)
    options.add_argument("--images", type=int, default=4000)
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    given = options.parse_args()
    rows = [["workers", "seconds", "MiB in the second tenth", "MiB in the last tenth", "ratio", "highest"]]
    with tempfile.TemporaryDirectory() as folder:
        data = _images(given.artifacts / "data", given.images, Path(folder) / "images")
        for workers in given.workers:
            seconds, memory = _search(data, given.trials, workers, Path(folder) / f"{workers}")
            tenth = max(1, given.trials // 10)
            early, late = (
                np.concatenate(memory[part]).max() for part in (slice(tenth, 2 * tenth), slice(-tenth, None))
            )
            highest = np.concatenate(memory).max()
            numbers = [f"{seconds:.0f}", f"{early:.0f}", f"{late:.0f}", f"{late / early:.3f}", f"{highest:.0f}"]
            rows.append([str(workers), *numbers])
    print(table(rows))


def _search(data: Path, trials: int, workers: int, artifacts: Path) -> tuple[float, list[list[float]]]:
    """The seconds that the trials took, and the memory while each was the next to end."""
    options = ["--dataset", f"idx:{data}", "--epochs", "1", "--trials", str(trials), "--workers", str(workers)]
    command = [sys.executable, "-m", "tuning", *options, "--artifacts", str(artifacts)]
    path = artifacts / "tuning" / data.name / "oracle.json"
    memory: list[list[float]] = [[] for _ in range(trials)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while (ended := len(json.loads(path.read_text())["end_order"]) if path.exists() else 0) < trials:
            if process.poll() is not None:
                raise RuntimeError(f"The search ended with code {process.returncode} after {ended} trials.")
            memory[ended].append(proportional_memory(process.pid))
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait()
    times = json.loads(path.read_text())["times"].values()  # when each trial began and ended
    return max(map(max, times)) - min(map(min, times)), memory


def _images(data_dir: Path, count: int, folder: Path) -> Path:
    """A folder of IDX files with the first of Fashion-MNIST's images."""
    dataset = load("fashion_mnist", data_dir)
    folder.mkdir()
    for (split, part), name in FILES.items():
        values = np.asarray(getattr(dataset.splits[split], part)[:count]).astype(np.uint8)
        values = values[..., 0] if part == "images" else values
        header = np.array([0x0800 + values.ndim, *values.shape], ">u4").tobytes()
        (folder / name).write_bytes(header + values.tobytes())
    return folder


if __name__ == "__main__":
    main()
