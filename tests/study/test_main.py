"""The command line: a mistake is reported in one line, and nothing is started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study import __main__ as command
from study import pipeline
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
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(message)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "artifacts").exists()


def test_a_backend_that_the_trainer_does_not_have_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "study", "--only", "basic-adam", "--artifacts", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    reason = "`KERAS_BACKEND` must be tensorflow or jax. Received: torch."
    assert done.stderr == f"error: loading the data: {reason} Its log is {tmp_path / 'study' / 'logs' / 'data.log'}.\n"


@pytest.mark.parametrize(("options", "expected"), [([], None), (["--write-results"], ROOT / "study" / "RESULTS.md")])
def test_the_committed_results_are_written_on_request_alone(
    options: list[str], expected: Path | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    monkeypatch.setattr(pipeline, "study", lambda *_, **named: asked.append(named["summary"]))
    monkeypatch.setattr(sys, "argv", ["study", *options, "--artifacts", str(tmp_path)])
    assert command.main() == 0
    assert asked == [expected]


def test_outside_a_checkout_there_are_no_results_to_write(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["study", "--write-results", "--artifacts", str(tmp_path / "artifacts")])
    assert command.main() == 2
    assert "error: `--write-results` needs a git checkout" in capsys.readouterr().err
    assert not (tmp_path / "artifacts").exists()
