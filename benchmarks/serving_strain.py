"""The service under strain: long full load, more load than it can answer, and versions that come under load.

    python -m benchmarks.serving_strain MODELS soak [--seconds 600]
    python -m benchmarks.serving_strain MODELS overload [--seconds 10] [--times 4] [--kind json1]
    python -m benchmarks.serving_strain MODELS swap [--swaps 10]

The overload is an open loop: requests leave when they are due, whether or not earlier ones were answered.
"""

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from benchmarks.serving import RUNTIMES, Running, bodies, proportional_memory, running, served_version, wrk

CLIENTS = 16
WINDOW = 6.0  # seconds in which a new version is noticed, loaded beside the old one, and replaces it
CONNECTIONS = 1024  # of the open loop, at most
NO_CONNECTION = -1  # as a status: all connections were in use; 0: the connection failed

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Outcomes = list[tuple[int, float]]  # HTTP status and seconds of each request


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("what", choices=["soak", "overload", "swap"])
    parser.add_argument("--seconds", type=int, help="600 for a soak, 10 for an overload")
    parser.add_argument("--times", type=float, default=4.0, help="load of the overload, in capacities of the server")
    parser.add_argument("--kind", choices=[*bodies()], default="json1", help="body of the overload's requests")
    parser.add_argument("--swaps", type=int, default=10)
    parser.add_argument("--server", choices=RUNTIMES, default="tensorflow")
    options = parser.parse_args()
    served = served_version(options.models)
    with tempfile.TemporaryDirectory() as scratch:
        # A store of its own, to which new versions can be added.
        first = Path(scratch) / "models" / served.parent.name / "1"
        shutil.copytree(served, first)
        with running(options.server, first) as server:
            if options.what == "soak":
                soak(server, options.seconds or 600)
            elif options.what == "overload":
                overload(server, options.seconds or 10, options.times, options.kind)
            else:
                asyncio.run(swap(server.port, first, options.swaps))


def soak(server: Running, seconds: int) -> None:
    """Prints memory and open files after each tenth of a full load over 32 connections."""
    for turn in range(10):
        measured = wrk(server.url, ("json1", "png")[turn % 2], 32, max(1, seconds // 10 - 1))
        process = psutil.Process(server.pid)
        files = sum(each.num_fds() for each in [process, *process.children(recursive=True)])
        print(f"{turn} {proportional_memory(server.pid):.1f} MiB, {files} files, {measured}", flush=True)


def overload(server: Running, seconds: int, times: float, kind: str) -> None:
    """Measures the capacity by wrk, sends `times` as many requests, then measures the capacity again."""
    before = wrk(server.url, kind, 32, 5).rate
    outcomes = asyncio.run(_open_loop(server.port, before * times, seconds, kind))
    after = wrk(server.url, kind, 32, 5).rate
    print(f"capacity {before:.0f}/s before, {after:.0f}/s after; {len(outcomes) / seconds:.0f}/s were sent in between")
    for status in sorted({status for status, _ in outcomes}):
        found = [seconds for each, seconds in outcomes if each == status]
        print(f"{status}: {len(found)}, p50 {1000 * statistics.median(found):.1f} ms, p99 {_p99(found):.1f} ms")


async def swap(port: int, first: Path, swaps: int) -> None:
    """Prints the p99 of 16 clients that send one request after another, without and with a new version every 6 s."""
    outcomes: Outcomes = []
    clients = [asyncio.create_task(_client(port, outcomes)) for _ in range(CLIENTS)]
    await asyncio.sleep(WINDOW)
    p99s = []
    for version in range(1, swaps + 2):
        if version > 1:
            copy = await asyncio.to_thread(shutil.copytree, first, first.with_name(f".{version}"))
            copy.rename(first.with_name(str(version)))
        outcomes.clear()
        await asyncio.sleep(WINDOW)
        p99s.append(_p99(seconds for _, seconds in outcomes))
        bad = sum(status != 200 for status, _ in outcomes)
        print(f"version {version}: {len(outcomes)} replies, {bad} bad, p99 {p99s[-1]:.1f} ms", flush=True)
    for client in clients:
        client.cancel()
    ratios = [each / p99s[0] for each in p99s[1:]]
    times = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"p99 {p99s[0]:.1f} ms steady; swapping x {times}")


def _p99(seconds: Iterable[float]) -> float:
    """The 99th percentile in milliseconds."""
    values = sorted(seconds)
    return 1000 * values[int(0.99 * (len(values) - 1))]


async def _client(port: int, outcomes: Outcomes) -> None:
    connection = await asyncio.open_connection("127.0.0.1", port)
    while True:
        begin = time.monotonic()
        status, _ = await _post(connection, "json1")
        outcomes.append((status, time.monotonic() - begin))


async def _post(connection: Connection, kind: str) -> tuple[int, bool]:
    """Posts a body; the status, and whether the server closes the connection."""
    reader, writer = connection
    media_type, body = bodies()[kind]
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    reply = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(reply.split(b"content-length: ")[1].split()[0]))
    return int(reply.split()[1]), b"connection: close" in reply


async def _open_loop(port: int, rate: float, seconds: int, kind: str) -> Outcomes:
    """Sends `rate` requests a second."""
    idle: list[Connection] = []
    outcomes: Outcomes = []
    limit = asyncio.Semaphore(CONNECTIONS)

    async def post() -> None:
        begin, status = time.monotonic(), NO_CONNECTION
        if not limit.locked():
            async with limit:
                try:
                    status = 0
                    connection = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
                    status, closes = await _post(connection, kind)
                    if closes:
                        connection[1].close()
                    else:
                        idle.append(connection)
                except (OSError, asyncio.IncompleteReadError):
                    pass
        outcomes.append((status, time.monotonic() - begin))

    begin = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            # Returns to the event loop in time for the next request, and every 64 requests when late.
            early = begin + number / rate - time.monotonic()
            if early > 0 or number % 64 == 0:
                await asyncio.sleep(max(0, early))
            tasks.create_task(post())
    return outcomes


if __name__ == "__main__":
    main()
