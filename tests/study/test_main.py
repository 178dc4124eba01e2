"""The command line: mistakes are one line that says what was expected, and nothing is begun."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0"], "error: `seeds` must be at least 1. Received: 0.\n"),
        (["--seeds", "three"], "error: argument --seeds: invalid int value: 'three' (--help lists the options)\n"),
        (["--only", "basic-adam,basic-lion"], "Received: basic-lion.\n"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(tmp_path: Path, options: list[str], message: str) -> None:
    command = [sys.executable, "-m", "study", *options, "--artifacts", str(tmp_path / "artifacts")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(message)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "artifacts").exists()
