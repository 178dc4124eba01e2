"""The watch over workers: whoever dies is replaced, whoever cannot work is asked why, and none is left behind."""

import os
import sys
import time
from pathlib import Path

import pytest

from trainer.config import RECIPES
from tuning.journal import Journal, SearchError
from tuning.oracles import build_oracle
from tuning.progress import Progress
from tuning.recorded import DEATHS
from tuning.search import chief, work_here
from tuning.space import Search

pytestmark = pytest.mark.tensorflow


def searching(tmp_path: Path, script: str, seconds: float = 60, workers: int = 1) -> None:
    """A search whose workers run a script instead of trials."""
    search, journal = Search(RECIPES["default"]), Journal(tmp_path / "trials.jsonl")
    work_here(
        build_oracle(search, journal),
        journal,
        Progress(search, journal, tmp_path, workers),
        time.monotonic() + seconds,
        workers=workers,
        port=1,
        command=[sys.executable, "-c", script],
        logs=tmp_path,
    )


def test_what_a_worker_complains_of_ends_the_search(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"^/data: No space left on device\.$"):
        searching(
            tmp_path, "import sys; sys.exit(print('error: /data: No space left on device.', file=sys.stderr) or 2)"
        )


def test_a_worker_that_never_comes_up_ends_the_search_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SearchError, match="signal 9"):
        searching(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert capsys.readouterr().out.count("tuner0 died (signal 9); another takes its place") == DEATHS - 1


def test_the_end_of_the_time_ends_the_workers(tmp_path: Path) -> None:
    searching(tmp_path, f"import os, time; open(f'{tmp_path}/{{os.getpid()}}.pid', 'w'); time.sleep(600)", 3, workers=2)
    pids = [path.stem for path in tmp_path.glob("*.pid")]
    assert len(pids) == 2
    assert not any(Path("/proc", pid).exists() for pid in pids)


def test_workers_share_the_cores(tmp_path: Path) -> None:
    script = (
        f"import os; open(f'{tmp_path}/' + os.environ['KERASTUNER_TUNER_ID'], 'w').write(os.environ['OMP_NUM_THREADS'])"
    )
    searching(tmp_path, script, workers=2)
    cores = max(1, len(os.sched_getaffinity(0)) // 2)
    assert [(tmp_path / name).read_text() for name in ("tuner0", "tuner1")] == [str(cores)] * 2


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    oracle = build_oracle(Search(RECIPES["default"]), Journal(tmp_path / "trials.jsonl"))
    with chief(oracle, "127.0.0.1:0") as port:
        taken = f"127.0.0.1:{port}"
        with pytest.raises(SearchError, match=f"Cannot listen on {taken}"), chief(oracle, taken):
            pass
