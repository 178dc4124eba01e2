"""Options and data are checked before TensorFlow is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, SAMPLE


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
        timeout=60,
    )
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
