"""The service beside its peers over one SavedModel, with wrk on the same machine, in interleaved rounds.

    python -m benchmarks.serving MODELS [--rounds 3] [--seconds 5] [--concurrency 1 32] [--kinds json1 json32]

MODELS is a directory of pushed models with one model in it; wrk must be installed. All servers run from the beginning,
and the load goes from one to the next every few seconds, since machine speed drifts from minute to minute. So only
ratios of one invocation mean anything: each is the median over the rounds of (server / peer in that round).
"""

import argparse
import itertools
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from registry.store import ModelStore, models

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "serving" / "samples" / "ankle-boot.png"
PEERS = ("flask", "fastapi", "mosec")
SERVERS = ("tensorflow", "litert", *PEERS)  # the first two are this service's runtimes
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Measured:
    """What wrk saw: requests a second, latencies in milliseconds, and replies that were no 2xx."""

    rate: float
    p50: float
    p99: float
    bad: int


@cache
def bodies() -> dict[str, tuple[str, bytes]]:
    """Kind -> media type and body."""
    images = np.random.default_rng(0).integers(0, 256, (32, 28, 28), np.uint8)
    return {
        "json1": ("application/json", json.dumps({"images": images[:1].tolist()}).encode()),
        "json32": ("application/json", json.dumps({"images": images.tolist()}).encode()),
        "png": ("image/png", SAMPLE.read_bytes()),
        "raw32": ("application/octet-stream", images.tobytes()),
    }


def command(server: str, version: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """The command line of a server with two workers, and what it needs in the environment."""
    if server not in PEERS:
        ours = {"MODELS": str(version.parents[1]), "PORT": str(port), "WORKERS": "2", "RUNTIME": server}
        return [sys.executable, "-m", "serving"], ours
    gunicorn = ["-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "4"]
    uvicorn = ["-m", "uvicorn", "--factory", "--port", str(port), "--log-level", "warning"]
    lines = {
        "mosec": ["-m", "benchmarks.mosec_peer", "--port", str(port)],
        "flask": [*gunicorn, "benchmarks.serving_peers:flask_app()"],
        "fastapi": [*uvicorn, "benchmarks.serving_peers:fastapi_app"],
    }
    environ = {"VERSION": str(version), "TF_CPP_MIN_LOG_LEVEL": "2"}
    workers = [] if server == "mosec" else ["--workers", "2"]  # mosec's own file says how many
    return [sys.executable, *lines[server], *workers], environ


def path(server: str) -> str:
    """Where the server takes images."""
    return "/inference" if server == "mosec" else "/predict"


@dataclass(frozen=True)
class Running:
    """A server that answers: its port, its address, its process id, and the seconds until its first right answer."""

    port: int
    url: str
    pid: int
    start: float


@contextmanager
def running(server: str, version: Path, **more: str) -> Iterator[Running]:
    """Start a server on a free port, with `more` in its environment, and end it afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line, environ = command(server, version, port)
    begin = time.monotonic()
    with subprocess.Popen(
        line, env=os.environ | environ | more, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}{path(server)}"
            while not _answers(url):
                if process.poll() is not None or time.monotonic() - begin > 120:
                    raise RuntimeError(f"{line} does not answer")
                time.sleep(0.02)
            yield Running(port, url, process.pid, time.monotonic() - begin)
        finally:
            process.terminate()
            process.wait(60)


def _answers(url: str) -> bool:
    kind, body = bodies()["raw32"]
    request = urllib.request.Request(url, body, {"Content-Type": kind})  # noqa: S310  # made here
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def wrk(url: str, kind: str, concurrency: int, seconds: int, scratch: Path) -> Measured:
    """Load the server from as many connections, after a second to warm up."""
    media_type, body = bodies()[kind]
    (scratch / "body").write_bytes(body)
    script = scratch / "post.lua"
    script.write_text(
        f'local file = io.open("{scratch / "body"}", "rb")\n'
        'wrk.method, wrk.body = "POST", file:read("*a")\n'
        f'wrk.headers["Content-Type"] = "{media_type}"\n'
    )
    command = ["wrk", "-t1", f"-c{concurrency}", "-s", str(script), "--latency", "--timeout", "30s"]
    for length in (1, seconds):
        done = subprocess.run([*command, f"-d{length}s", url], capture_output=True, text=True, check=True)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    p50, p99 = (re.search(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\b", done.stdout) for percent in (50, 99))
    if not rate or not p50 or not p99:
        raise RuntimeError(done.stdout)
    return Measured(
        float(rate[1]),
        float(p50[1]) * _UNITS[p50[2]],
        float(p99[1]) * _UNITS[p99[2]],
        int(bad[1]) if bad else 0,
    )


def proportional_memory(pid: int) -> float:
    """MiB of a process and all its descendants, shared pages divided among those that share them."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0  # it ended meanwhile
    found = re.search(r"Pss:\s+(\d+)", rollup)
    own = int(found[1]) / 1024 if found else 0.0
    return own + sum(proportional_memory(int(child)) for child in children)


def main() -> None:
    options = _options()
    if not shutil.which("wrk"):
        raise SystemExit("error: wrk makes the load; install it first (apt-get install wrk).")
    version = served_version(options.models)
    results: dict[tuple[str, int], dict[str, list[Measured]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        servers = {name: stack.enter_context(running(name, version)) for name in options.servers}
        for turn in range(options.rounds):
            for kind, concurrency in itertools.product(options.kinds, options.concurrency):
                for name, server in servers.items():
                    measured = wrk(server.url, kind, concurrency, options.seconds, Path(scratch))
                    results[kind, concurrency][name].append(measured)
                    print(f"{turn} {name:<11} {kind:<7} c={concurrency:<3} {measured}", flush=True)
        _report(results)
        for name, server in servers.items():
            print(f"{name:<11} {proportional_memory(server.pid):.0f} MiB, first answer after {server.start:.1f} s")


def served_version(root: Path) -> Path:
    """The directory of the version that is served of the only model in `root`; ends the program if there is none."""
    names = models(root)
    if len(names) != 1:
        raise SystemExit(f"error: {root} must hold one pushed model. Received: {', '.join(names) or 'none'}.")
    store = ModelStore(root, names[0])
    return store.path(store.served() or 1).resolve()


def _report(results: dict[tuple[str, int], dict[str, list[Measured]]]) -> None:
    for (kind, concurrency), servers in results.items():
        for server, rounds in servers.items():
            rate, p50, p99 = (
                statistics.median(getattr(each, key) for each in rounds) for key in ("rate", "p50", "p99")
            )
            line = f"{kind:<7} c={concurrency:<3} {server:<11} {rate:8.0f}/s  p50 {p50:7.2f} ms  p99 {p99:7.2f} ms"
            if bad := sum(each.bad for each in rounds):
                line += f"  {bad} refused"
            print(line)
            for peer in PEERS if server not in PEERS else ():
                if peer in servers:
                    print(f"{'':<24}beside {peer:<8} {_beside(rounds, servers[peer])}")


def _beside(own: list[Measured], peer: list[Measured]) -> str:
    """The ratios of a server to a peer: the median over the rounds, the least and the most."""
    rates = [mine.rate / theirs.rate for mine, theirs in zip(own, peer, strict=True)]
    tails = [mine.p99 / theirs.p99 for mine, theirs in zip(own, peer, strict=True)]
    rate = f"{statistics.median(rates):.2f} ({min(rates):.2f} to {max(rates):.2f})"
    return f"rate x {rate}  p99 x {statistics.median(tails):.2f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--kinds", nargs="+", choices=[*bodies()], default=[*bodies()])
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=SERVERS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
