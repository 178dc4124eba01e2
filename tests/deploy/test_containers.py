"""What a test starts in a container's namespaces ends with the test."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests import leftovers
from tests.deploy.containers import enter, started

# The root of this machine stands for an image's; it is mounted read-only in the namespace alone.
CONFIG = {"Env": [f"PATH={os.environ['PATH']}"], "User": "10001:10001", "WorkingDir": "/"}


def can_make_namespaces() -> bool:
    """Root may lack the capability, as in most containers."""
    if os.geteuid() or not (shutil.which("unshare") and shutil.which("setpriv")):
        return False
    command = ["unshare", "--mount", "--pid", "--fork", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_make_namespaces(), reason="namespaces need root with CAP_SYS_ADMIN, and util-linux")
def test_a_container_ends_with_the_test_although_it_changed_its_user(tmp_path: Path) -> None:
    command = enter(Path("/"), CONFIG, ["sleep", "600"], {leftovers.VARIABLE: str(tmp_path)}, None)
    with (tmp_path / "log").open("wb") as output, started(command, output) as (_, first):
        end = time.monotonic() + 60
        # The kernel shows the command's name a moment before its environment.
        while Path(f"/proc/{first}/comm").read_text() != "sleep\n" or not leftovers.left(str(tmp_path)):
            assert time.monotonic() < end
            time.sleep(0.01)
        assert leftovers.left(str(tmp_path)).keys() == {first}
    assert leftovers.left(str(tmp_path), seconds=60) == {}
