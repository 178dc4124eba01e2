"""A study on real images in real processes: finished runs are kept, whatever ends it."""

import json
import multiprocessing
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from study.pipeline import study
from study.pool import RunError
from tests.conftest import ROOT
from tests.leftovers import runs
from tests.study.small import QUICK, SMALL
from trainer.training.checkpoint import claimed

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished study of the sample, as it is and on photographs."""
    folder = tmp_path_factory.mktemp("artifacts") / "study"
    study(QUICK, folder, workers=1, summary=folder.parent / "RESULTS.md")
    return folder


def test_results_json_has_settings_and_measures_of_each_run(folder: Path) -> None:
    first, second = json.loads((folder / "results.json").read_text())
    assert (first["id"], first["model"], first["optimizer"]) == ("basic-sgd-0.01", "basic", "sgd")
    assert (first["learning_rate"], first["seed"], len(first["validation_accuracy"])) == (0.01, 0, 2)
    assert 0 <= first["test_accuracy"] <= 1
    assert first["seconds"] > 0
    assert len(second["confusion"]) == 10
    assert second["robustness"].keys() == {"mirror", "rotation", "shift", "noise", "blur", "contrast"}


def test_the_report_needs_no_other_file(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert set(re.findall(r'(?:src|href)="([^"]{0,10})', page)) == {"data:image"}
    assert "basic-sgd-0.01" in page
    assert "0.8711" in page  # as published
    assert "0.8711" in (folder.parent / "RESULTS.md").read_text()


def test_a_second_study_repeats_no_finished_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study(QUICK, folder)
    assert "2 runs: 2 finished, 0 to do." in capsys.readouterr().out


def test_a_study_removes_what_a_killed_one_left_beside_a_finished_run(folder: Path) -> None:
    left = folder / "runs" / f".{QUICK[0].id}-seed-0-01234567"
    left.mkdir()
    (left / "model.keras").touch()
    study(QUICK, folder)
    assert not left.exists()


def test_a_part_of_the_study_does_not_write_the_committed_results_and_reports_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = folder.parent / "partly.md"
    study([*QUICK, SMALL[1]], folder, only=[QUICK[0].id], summary=summary)
    assert not summary.exists()
    assert f"{summary} is left as it was" in capsys.readouterr().out


@pytest.mark.slow
def test_a_failed_run_is_reported_with_its_reason(folder: Path) -> None:
    lost = replace(QUICK[0], id="lost", config=replace(QUICK[0].config, dataset="idx:nowhere"))
    with pytest.raises(RunError, match=r"loading the data: nowhere.*expected a folder with four IDX files.*data.log"):
        study([lost], folder, workers=1)


@pytest.mark.slow
def test_a_worker_process_that_is_killed_is_reported_in_one_sentence(folder: Path) -> None:
    long = replace(QUICK[0], id="long", config=replace(QUICK[0].config, epochs=10_000))

    def kill_once_it_trains() -> None:
        wait_for(lambda: list((folder / "runs").glob(".long-*/checkpoint")))
        multiprocessing.active_children()[0].kill()

    killer = threading.Thread(target=kill_once_it_trains)
    killer.start()
    with pytest.raises(
        RunError, match=r"^A worker process ended unexpectedly, perhaps .*In progress: long-seed-0\. The logs.*$"
    ):
        study([long], folder, workers=1)
    killer.join()
    assert not multiprocessing.active_children()


def test_no_seeds_and_negative_numbers_of_workers_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`seeds` must be at least 1\. Received: 0"):
        study(QUICK, tmp_path, seeds=0)
    with pytest.raises(ValueError, match=r"`workers` must be at least 0\. Received: -1"):
        study(QUICK, tmp_path, workers=-1)


def test_two_studies_do_not_share_a_directory(folder: Path) -> None:
    with claimed(folder), pytest.raises(ValueError, match="another study is running there"):
        study(QUICK, folder)


@pytest.mark.slow
def test_a_killed_study_ends_its_workers_and_repeats_no_finished_run(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    command = [sys.executable, "-m", "tests.study.small", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as killed:
        wait_for(lambda: list((folder / "runs").glob("*.json")), killed)
        workers = children(killed.pid)
        killed.send_signal(signal.SIGKILL)
    assert len(workers) >= 2
    wait_for(lambda: not any(map(runs, workers)))
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "runs").glob("*.json")}
    assert 0 < len(before) < len(SMALL)

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert f"3 runs: {len(before)} finished, {3 - len(before)} to do." in done.stdout
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "runs").glob("*.json")}
    assert len(after) == 3
    assert before.items() <= after.items()
    assert not list((folder / "runs").glob(".*"))  # nothing half-done is left


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition: Callable[[], object], process: subprocess.Popen | None = None, seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not so within {seconds} s"
        assert process is None or process.poll() is None, "the study ended too early"
        time.sleep(0.05)
