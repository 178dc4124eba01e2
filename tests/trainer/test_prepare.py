"""Options and data are checked before TensorFlow is imported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, SAMPLE
from trainer.config import RunOptions
from trainer.prepare import prepare_push
from trainer.training.checkpoint import CheckpointError


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{}", "KeyError: 'thresholds'"),
        ("[]", "TypeError"),
        ("no JSON", "JSONDecodeError"),
        ('{"thresholds": {"accuracy_floor": 80}}', "`accuracy_floor` must be at least 0 and below 1. Received: 80."),
        ('{"thresholds": {"floor": 0.8}}', "unexpected keyword argument 'floor'"),
    ],
)
def test_a_verdict_that_was_edited_is_named_before_the_run_is_judged_again(
    content: str, reason: str, artifacts: Path, tmp_path: Path
) -> None:
    (finished,) = (artifacts / "runs").iterdir()
    run = shutil.copytree(finished, tmp_path / finished.name)
    (run / "verdict.json").write_text(content)
    with pytest.raises(CheckpointError) as refused:
        prepare_push(run, RunOptions(artifacts))
    assert str(refused.value).startswith(
        f"{run / 'verdict.json'}: expected a verdict of the gate with its thresholds ("
    )
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--dataset", "idx:/nowhere"], "/nowhere: expected a folder with four IDX files; there is none."),
        (["push", "20260101-000000-basic"], "expected a run with a readable config.json there"),
        (["push", "artifacts/runs/some-run/"], "error: some-artifacts/runs/some-run: expected a run"),
        (["--resume", "artifacts/runs/some-run"], "error: some-artifacts/runs/some-run: expected a run"),
        (["push"], "the following arguments are required: RUN"),
        (["push", "20260101-000000-basic", "--force"], "`--force` and `--reason TEXT` go together."),
        (["--dataset", f"idx:{SAMPLE}", "--name", "a/b"], "`name` must be of letters and digits of any script"),
    ],
)
def test_a_mistake_is_answered_without_tensorflow(options: list[str], expected: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", *options, "--artifacts", "some-artifacts"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests' / 'no_tensorflow'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
