"""SIGKILL at any moment: no finished trial is lost or repeated, and with one worker the result is the same."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import ROOT, SAMPLE
from tests.leftovers import runs
from tests.tuning.test_main import EASY, rows, tune

KILLS = int(os.environ.get("KILLS", "4"))  # the figure in docs/benchmarks.md is of KILLS=20


@contextmanager
def searching(*options: str, artifacts: Path, **environment: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "tuning", *EASY, *options, "--artifacts", str(artifacts)]
    with (artifacts / "output.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=300)


def begun_and_ended(artifacts: Path) -> tuple[list[str], list[str]]:
    """The trials that the search knows to have begun and to have ended, in order."""
    path = artifacts / "tuning" / SAMPLE.name / "oracle.json"
    state = json.loads(path.read_text()) if path.exists() else {"start_order": [], "end_order": []}
    return state["start_order"], state["end_order"]


def children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def lives_until(rng: random.Random, search: subprocess.Popen, artifacts: Path) -> bool:
    """Whether the search still runs at the next random moment: while it starts, or some time after an event."""
    known, limit = begun_and_ended(artifacts), time.monotonic() + 60
    while rng.random() < 0.995 and begun_and_ended(artifacts) == known and time.monotonic() < limit:
        if search.poll() is not None:
            return False
        time.sleep(0.05)
    time.sleep(rng.uniform(0, 4))
    return search.poll() is None


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_no_finished_trial_is_lost_or_repeated_over_random_kills(workers: int, tmp_path: Path) -> None:
    options = ["--trials", "8" if KILLS < 10 else "40", "--workers", str(workers)]
    rng, kills, orphans = random.Random(workers), 0, []
    while kills < KILLS:
        with searching(*options, artifacts=tmp_path) as search:
            while kills < KILLS and lives_until(rng, search, tmp_path):
                begun, ended = begun_and_ended(tmp_path)
                busy = children(search.pid)
                victim = rng.choice([search.pid, *busy]) if busy else search.pid
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(victim, signal.SIGKILL)
                kills += 1
                if victim == search.pid:
                    orphans += busy
                    search.wait(timeout=300)
                begun_now, ended_now = begun_and_ended(tmp_path)
                assert (begun_now[: len(begun)], ended_now[: len(ended)]) == (begun, ended)
            if search.poll() == 0:
                break  # all trials ended before all kills were made
    limit = time.monotonic() + 300
    while any(map(runs, orphans)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not [*filter(runs, orphans)], "a worker outlived its search"
    done = tune(*EASY, *options, artifacts=tmp_path)
    assert done.returncode == 0, done.stderr
    _, ended = begun_and_ended(tmp_path)
    assert sorted(map(int, ended)) == list(range(int(options[1])))
    if workers == 1:
        unbroken = tmp_path / "unbroken"
        assert tune(*EASY, *options, artifacts=unbroken).returncode == 0
        assert rows(tmp_path) == rows(unbroken)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_over_several_machines_a_worker_and_the_chief_may_die(tmp_path: Path) -> None:
    """Machines are played by processes that know of each other what the environment says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    options = ["--trials", "5"]

    def part(name: str) -> contextmanager:
        return searching(*options, artifacts=tmp_path, KERASTUNER_TUNER_ID=name, **address)

    def until(count: int, process: subprocess.Popen) -> None:
        limit = time.monotonic() + 300
        while len(begun_and_ended(tmp_path)[1]) < count:
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.1)

    with part("tuner0") as first, part("chief") as chief:
        until(1, chief)
        first.kill()
        with part("tuner0") as second:
            until(2, chief)
            chief.kill()
            chief.wait(timeout=300)
            with part("chief") as resumed:
                assert resumed.wait(timeout=600) == 0
            assert second.wait(timeout=300) == 0
    assert sorted(map(int, begun_and_ended(tmp_path)[1])) == list(range(5))
