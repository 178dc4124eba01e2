"""The service beside its peers over one SavedModel, with wrk on the same machine, in interleaved rounds.

    python -m benchmarks.serving MODELS [--rounds 3] [--seconds 5] [--concurrency 1 32] [--kinds json1 json32]

MODELS is a directory of pushed models, of which the one pushed last is served; wrk must be installed. All servers run
from the beginning, and the load goes from one to the next every few seconds, because the machine's speed drifts from
minute to minute. Only ratios of one invocation mean anything: each is the median over the rounds of (server / peer in
that round).

`--workers core 1 2` measures the service with other numbers of workers than two; `core` is one worker that has a core
to itself, like a pod of deploy/kubernetes, while wrk has the others.
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
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import psutil

from registry.models import models, newest_pushed
from registry.store import ModelStore

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "serving" / "samples" / "ankle-boot.png"
RUNTIMES = ("tensorflow", "litert")  # of this service
PEERS = {  # their command lines, each with two workers
    "flask": "gunicorn --worker-class gthread --threads 4 --workers 2 --bind 127.0.0.1:{port} "
    "benchmarks.serving_peers:flask_app()",
    "fastapi": "uvicorn --workers 2 --port {port} --log-level warning --factory benchmarks.serving_peers:fastapi_app",
    "mosec": "benchmarks.mosec_peer --port {port}",
}
ONE_CORE, OTHER_CORES = ("taskset", "-c", "0"), ("taskset", "-c", f"1-{(os.cpu_count() or 2) - 1}")
MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Measured:
    """What wrk reports: requests per second, latencies in milliseconds, and the number of replies other than 2xx."""

    rate: float
    p50: float
    p99: float
    bad: int


@dataclass(frozen=True)
class Running:
    """A server that answers: its port, its address, its process id, and the seconds until its first correct answer."""

    port: int
    url: str
    pid: int
    start: float


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


@contextmanager
def running(server: str, version: Path, workers: str = "2") -> Iterator[Running]:
    """Starts a server on a free port, and stops it afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if server in PEERS:
        arguments, environ = PEERS[server].format(port=port).split(), {"VERSION": str(version)}
    else:
        count = "1" if workers == "core" else workers
        arguments, environ = ["serving"], {"MODELS": str(version.parents[1]), "RUNTIME": server, "WORKERS": count}
        environ["MODEL_NAME"] = version.parent.name
    command = [*(ONE_CORE if workers == "core" else ()), sys.executable, "-m", *arguments]
    environ |= {"PORT": str(port), "TF_CPP_MIN_LOG_LEVEL": "2"}
    begin, quiet = time.monotonic(), subprocess.DEVNULL
    with subprocess.Popen(command, env=os.environ | environ, cwd=ROOT, stdout=quiet, stderr=quiet) as process:
        try:
            url = f"http://127.0.0.1:{port}/predict"
            while not _answers(url):
                if process.poll() is not None or time.monotonic() - begin > 120:
                    raise RuntimeError(f"{command} does not answer")
                time.sleep(0.02)
            yield Running(port, url, process.pid, time.monotonic() - begin)
        finally:
            process.terminate()
            process.wait(60)


def _answers(url: str) -> bool:
    media_type, body = bodies()["raw32"]
    request = urllib.request.Request(url, body, {"Content-Type": media_type})  # noqa: S310  # made here
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            return bool(reply.status == 200)
    except OSError:
        return False


def wrk(url: str, kind: str, concurrency: int, seconds: int, prefix: Sequence[str] = ()) -> Measured:
    """Loads the server over `concurrency` connections, after a second to warm up."""
    media_type, body = bodies()[kind]
    with tempfile.TemporaryDirectory() as scratch:
        (file := Path(scratch) / "body").write_bytes(body)
        (script := Path(scratch) / "post.lua").write_text(
            f'wrk.method, wrk.body = "POST", io.open("{file}", "rb"):read("*a")\n'
            f'wrk.headers["Content-Type"] = "{media_type}"\n'
        )
        command = [*prefix, "wrk", "-t1", f"-c{concurrency}", "-s", str(script), "--latency", "--timeout", "30s"]
        for length in (1, seconds):
            done = subprocess.run([*command, f"-d{length}s", url], capture_output=True, text=True, check=True)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    p50, p99 = (re.search(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\b", done.stdout) for percent in (50, 99))
    if not rate or not p50 or not p99:
        raise RuntimeError(done.stdout)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    low, high = (float(each[1]) * MILLISECONDS[each[2]] for each in (p50, p99))
    return Measured(float(rate[1]), low, high, int(bad[1]) if bad else 0)


def proportional_memory(pid: int) -> float:
    """MiB of a process and all its descendants, shared pages divided among those that share them; 0 if it ended."""
    try:
        process = psutil.Process(pid)
        return sum(each.memory_full_info().pss for each in [process, *process.children(recursive=True)]) / 2**20
    except psutil.NoSuchProcess:
        return 0.0


def served_version(root: Path) -> Path:
    """The directory of the served version of the newest pushed model in `root`; ends the program if there is none."""
    names = models(root)
    if not names:
        raise SystemExit(f"error: {root} must hold a pushed model. Received: none.")
    store = ModelStore(root, newest_pushed(root, names))
    return store.path(store.served() or 1).resolve()


def main() -> None:
    options = _options()
    if not shutil.which("wrk"):
        raise SystemExit("error: wrk makes the load; install it first (apt-get install wrk).")
    version = served_version(options.models)
    ours = itertools.product((each for each in options.servers if each in RUNTIMES), options.workers)
    started = {f"{runtime}-{workers}": (runtime, workers) for runtime, workers in ours}
    started |= {peer: (peer, "2") for peer in options.servers if peer in PEERS}
    results: dict[tuple[str, int], dict[str, list[Measured]]] = defaultdict(lambda: defaultdict(list))
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(each, version, n)) for name, (each, n) in started.items()}
        for turn, kind, concurrency in itertools.product(range(options.rounds), options.kinds, options.concurrency):
            for name, server in servers.items():
                prefix = OTHER_CORES if name.endswith("-core") else ()
                measured = wrk(server.url, kind, concurrency, options.seconds, prefix)
                results[kind, concurrency][name].append(measured)
                print(f"{turn} {name:<15} {kind:<7} c={concurrency:<3} {measured}", flush=True)
        for (kind, concurrency), rounds in results.items():
            _report(kind, concurrency, rounds)
        for name, server in servers.items():
            print(f"{name:<15} {proportional_memory(server.pid):.0f} MiB, first answer after {server.start:.1f} s")


def _report(kind: str, concurrency: int, servers: dict[str, list[Measured]]) -> None:
    """Prints medians over the rounds with their range, and each runtime's ratios to the peers."""
    for server, rounds in servers.items():
        rates, images = [each.rate for each in rounds], 32 if kind.endswith("32") else 1
        rate, p50, p99 = (statistics.median(getattr(each, key) for each in rounds) for key in ("rate", "p50", "p99"))
        print(
            f"{kind:<7} c={concurrency:<3} {server:<15} {rate:8.0f}/s ({min(rates):.0f} to {max(rates):.0f}), "
            f"{rate * images:.0f} images/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, {sum(each.bad for each in rounds)} bad"
        )
        for peer in (each for each in servers if each in PEERS and server not in PEERS):
            ratios = [own.rate / other.rate for own, other in zip(rounds, servers[peer], strict=True)]
            tail = statistics.median(own.p99 / other.p99 for own, other in zip(rounds, servers[peer], strict=True))
            range_ = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"{'':<24}beside {peer:<8} rate x {range_}, p99 x {tail:.2f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--kinds", nargs="+", choices=[*bodies()], default=[*bodies()])
    parser.add_argument("--servers", nargs="+", choices=[*RUNTIMES, *PEERS], default=[*RUNTIMES, *PEERS])
    parser.add_argument("--workers", nargs="+", default=["2"], help="of this service: numbers, or `core`")
    return parser.parse_args()


if __name__ == "__main__":
    main()
