"""The watch over workers: one that dies is replaced, one that cannot work ends the search, and none is left behind."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.recipes import RECIPES
from tuning import workers
from tuning.oracles import MAX_WORKER_DEATHS, Random
from tuning.space import Search, SearchError

pytestmark = pytest.mark.tensorflow


def searching(tmp_path: Path, script: str, count: int = 1, until: Callable[[], bool] = lambda: False) -> None:
    """A search whose workers run a script instead of trials."""
    end = time.monotonic() + 300
    oracle = Random(Search(RECIPES["default"]), tmp_path / "oracle.json")
    command = [sys.executable, "-c", script]
    workers.run(count, command, tmp_path, oracle.worker_died, lambda: time.monotonic() < end and not until())


def test_an_error_of_a_worker_ends_the_search(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"^/data: No space left on device\.$"):
        searching(
            tmp_path, "import sys; sys.exit(print('error: /data: No space left on device.', file=sys.stderr) or 2)"
        )


def test_a_worker_that_never_comes_up_ends_the_search_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SearchError, match="signal 9"):
        searching(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert capsys.readouterr().out.count("tuner0 died (signal 9); another takes its place") == MAX_WORKER_DEATHS - 1


def test_the_end_of_the_time_ends_the_workers(tmp_path: Path) -> None:
    def pids() -> list[str]:
        return [path.stem for path in tmp_path.glob("*.pid")]

    script = f"import os, time; open(f'{tmp_path}/{{os.getpid()}}.pid', 'w'); time.sleep(600)"
    searching(tmp_path, script, count=2, until=lambda: len(pids()) == 2)
    assert len(pids()) == 2
    assert not any(Path("/proc", pid).exists() for pid in pids())


def test_workers_share_the_cores(tmp_path: Path) -> None:
    script = (
        f"import os; open(f'{tmp_path}/' + os.environ['KERASTUNER_TUNER_ID'], 'w').write(os.environ['OMP_NUM_THREADS'])"
    )
    searching(tmp_path, script, count=2)
    cores = max(1, len(os.sched_getaffinity(0)) // 2)
    assert [(tmp_path / name).read_text() for name in ("tuner0", "tuner1")] == [str(cores)] * 2
