"""A process that a test leaves running is found, wherever it has gone."""

import os
import subprocess
import time
from pathlib import Path

from tests import leftovers


def test_a_process_whose_parent_has_ended_is_found_with_the_test_that_started_it(tmp_path: Path) -> None:
    environ = os.environ | {leftovers.VARIABLE: str(tmp_path)}
    subprocess.run(["sh", "-c", "sleep 600 > /dev/null 2>&1 &"], env=environ, check=True)
    end = time.monotonic() + 60
    while not (found := leftovers.left(str(tmp_path))):  # the shell may end before its child has started
        assert time.monotonic() < end
        time.sleep(0.05)
    ((pid, told),) = found.items()
    assert "started by tests/test_leftovers.py::test_a_process_whose_parent_has_ended" in told
    leftovers.end({pid: told})
    assert leftovers.left(str(tmp_path), seconds=60) == {}
