"""What a test starts in a container's namespaces ends with the test."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests import leftovers
from tests.deploy.containers import enter, started

# The root of this machine stands for an image's; it is mounted read-only in the namespace alone.
CONFIG = {"Env": [f"PATH={os.environ['PATH']}"], "User": "10001:10001", "WorkingDir": "/"}


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="namespaces need root and util-linux")
def test_a_container_ends_with_the_test_although_it_changed_its_user(tmp_path: Path) -> None:
    command = enter(Path("/"), CONFIG, ["sleep", "600"], {leftovers.VARIABLE: str(tmp_path)}, None)
    with (tmp_path / "log").open("wb") as output, started(command, output) as (_, first):
        while Path(f"/proc/{first}/comm").read_text() != "sleep\n":
            time.sleep(0.01)
        assert leftovers.left(str(tmp_path)).keys() == {first}
    assert leftovers.left(str(tmp_path), seconds=10) == {}
