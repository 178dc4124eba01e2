"""Runs a built image without an engine: a private mount namespace, a read-only root, its own user, process 1.

What an engine does on `run --read-only --tmpfs /tmp --cap-drop all --network host`, by util-linux and chroot alone,
for machines whose engine may build but not run. Needs root on Linux, and buildah.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import requests

from tests import leftovers

SECONDS = 300.0  # far more than anything here takes
_ENTER = """
root=$1 user=$2 directory=$3 models=$4 limit=$5; shift 5
if [ "$limit" ]; then echo $$ > "$limit/cgroup.procs"; fi
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
if [ "$models" ]; then mount --bind "$models" "$root/models"; fi
mount -o remount,ro,bind "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" env --chdir="$directory" "$@"
"""


@dataclass
class Running:
    """A container's process 1, seen from outside; `log` is all that it wrote."""

    pid: int
    url: str
    log: Path
    unshare: subprocess.Popen[bytes]

    def status(self, path: str) -> int:
        """Of the reply; 0 while nobody listens."""
        try:
            return requests.get(f"{self.url}{path}", timeout=SECONDS).status_code
        except requests.ConnectionError:
            return 0

    def wait_for(self, path: str, status: int) -> float:
        """Seconds until `path` answers with `status`."""
        begin = time.monotonic()
        while time.monotonic() < begin + SECONDS:
            if self.status(path) == status:
                return time.monotonic() - begin
            assert self.unshare.poll() is None, f"it ended: {self.log.read_text()}"
            time.sleep(0.2)  # each question costs the container processor time
        raise AssertionError(f"{path} is not {status} after {SECONDS} s: {self.log.read_text()}")

    def processor_seconds(self) -> float:
        """What process 1 and its workers have used up."""
        workers = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        ticks = 0
        for pid in (str(self.pid), *workers):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def inspect(image: str) -> dict[str, Any]:
    """The image's configuration: User, Env, Entrypoint, Healthcheck, Labels and the rest."""
    config: dict[str, Any] = json.loads(_buildah("inspect", "--type", "image", image))["Docker"]["config"]
    return config


def layers(image: str, scratch: Path) -> list[tuple[str, int]]:
    """What made each layer, and its bytes, from the bottom up."""
    _buildah("push", "--quiet", "--disable-compression", image, f"dir:{scratch}")
    manifest = json.loads((scratch / "manifest.json").read_text())
    config = json.loads((scratch / manifest["config"]["digest"].partition(":")[2]).read_text())
    made = [each["created_by"] for each in config["history"] if not each.get("empty_layer")]
    return [*zip(made, (each["size"] for each in manifest["layers"]), strict=True)]


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """The root of a container of `image`."""
    container = _buildah("from", "--pull-never", image)
    try:
        root = Path(_buildah("mount", container))
        for place in ("models", "proc", "dev", "tmp"):
            (root / place).mkdir(exist_ok=True)  # as an engine makes the points that it mounts at
        yield root
    finally:
        _buildah("rm", container)


@contextmanager
def running(
    image: str, log: Path, models: Path | None = None, limit: Path | None = None, **environ: str
) -> Iterator[Running]:
    """The image's own command as its own user, with `models` at /models and, if given, in the cgroup `limit`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        environ = {"HOST": "127.0.0.1", "PORT": str(free.getsockname()[1])} | environ
    config = inspect(image)
    with mounted(image) as root, log.open("wb") as output:
        command = enter(root, config, config["Entrypoint"], environ, models, limit)
        with started(command, output) as (unshare, pid):
            yield Running(pid, f"http://127.0.0.1:{environ['PORT']}", log, unshare)


@contextmanager
def started(command: list[str], output: BinaryIO) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """What `enter` returns, running: its unshare, and the container's process 1."""
    with subprocess.Popen(command, env={"PATH": os.environ["PATH"]}, stdout=output, stderr=output) as unshare:
        try:
            first = _child(unshare.pid)
            yield unshare, first
        finally:
            if unshare.poll() is None:
                # Killing unshare is not enough: the kernel forgets --kill-child when process 1 changes its user.
                os.kill(first, signal.SIGKILL)


def enter(
    root: Path,
    config: Mapping[str, Any],
    command: list[str],
    environ: Mapping[str, str],
    models: Path | None = None,
    limit: Path | None = None,
) -> list[str]:
    """The command line that runs `command` inside."""
    environ = {leftovers.VARIABLE: os.environ[leftovers.VARIABLE], **environ}
    variables = [*config["Env"], *(f"{name}={value}" for name, value in environ.items())]
    places = [str(root), config["User"], config["WorkingDir"], str(models or ""), str(limit or "")]
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    return [*namespaces, "bash", "-euc", _ENTER, "enter", *places, "-i", *variables, *command]


def _child(pid: int) -> int:
    """The one child of a process: it becomes process 1 of its own namespace."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            return int(children[0])
        time.sleep(0.01)
    raise AssertionError("unshare started nothing")


def _buildah(*arguments: str) -> str:
    done = subprocess.run(["buildah", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
