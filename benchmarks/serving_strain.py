"""The service under strain: a soak that must stay flat, an overload to be shed honestly, versions that come under load.

    python -m benchmarks.serving_strain MODELS soak [--seconds 600]
    python -m benchmarks.serving_strain MODELS overload [--seconds 10] [--times 4] [--kind json1]
    python -m benchmarks.serving_strain MODELS swap [--swaps 10]

The overload is an open loop: requests leave when they are due, whether or not the ones before were answered.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.serving import Running, bodies, proportional_memory, running, served_version, wrk

CLIENTS = 16
WINDOW = 6.0  # seconds in which a version that comes is noticed, loaded beside the old one, and put in its place
CONNECTIONS = 1024  # at most, of the open loop; a request that finds none free opens one


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("what", choices=["soak", "overload", "swap"])
    parser.add_argument("--seconds", type=int, help="600 for a soak, 10 for an overload")
    parser.add_argument("--times", type=float, default=4.0)
    parser.add_argument("--kind", choices=[*bodies()], default="json1", help="what the overload consists of")
    parser.add_argument("--swaps", type=int, default=10)
    parser.add_argument("--server", choices=["tensorflow", "litert"], default="tensorflow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        served = served_version(options.models)
        # A store of its own, into which new versions may come.
        first = Path(scratch) / "models" / served.parent.name / "1"
        shutil.copytree(served, first)
        with running(options.server, first) as server:
            match options.what:
                case "soak":
                    soak(server, options.seconds or 600)
                case "overload":
                    overload(server, options.seconds or 10, options.times, options.kind)
                case "swap":
                    asyncio.run(swap(server.port, first, options.swaps))


def soak(server: Running, seconds: int) -> None:
    """Full load from 32 connections; proportional memory in MiB and open files every tenth of the time."""
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(10):
            measured = wrk(server.url, ("json1", "png")[turn % 2], 32, max(1, seconds // 10 - 1), Path(scratch))
            print(
                f"{turn} {proportional_memory(server.pid):.1f} MiB, {_open_files(server.pid)} files, {measured}",
                flush=True,
            )


def _open_files(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(len(os.listdir(f"/proc/{each}/fd")) for each in (pid, *children))


def overload(server: Running, seconds: int, times: float, kind: str) -> None:
    """Capacity by wrk, then so many times that, then capacity again."""
    with tempfile.TemporaryDirectory() as scratch:
        before = wrk(server.url, kind, 32, 5, Path(scratch)).rate
        outcomes = asyncio.run(_open_loop(server.port, before * times, seconds, kind))
        after = wrk(server.url, kind, 32, 5, Path(scratch)).rate
    print(f"capacity {before:.0f}/s before, {after:.0f}/s after; {len(outcomes) / seconds:.0f}/s came in between")
    for status in sorted({status for status, _ in outcomes}):
        times_ms = sorted(1000 * seconds for each, seconds in outcomes if each == status)
        p99 = times_ms[int(0.99 * (len(times_ms) - 1))]
        print(f"{status}: {len(times_ms)}, p50 {statistics.median(times_ms):.1f} ms, p99 {p99:.1f} ms")


async def swap(port: int, first: Path, swaps: int) -> None:
    """p99 of 16 clients who ask one after the other: without and with a new version coming every few seconds."""
    outcomes: list[tuple[int, float]] = []
    asking = [asyncio.create_task(_client(port, outcomes)) for _ in range(CLIENTS)]
    await asyncio.sleep(WINDOW)
    p99s = []
    for version in range(1, swaps + 2):
        if version > 1:
            coming = await asyncio.to_thread(shutil.copytree, first, first.with_name(f".{version}"))
            coming.rename(first.with_name(str(version)))
        outcomes.clear()
        await asyncio.sleep(WINDOW)
        seconds = sorted(each for _, each in outcomes)
        p99s.append(1000 * seconds[int(0.99 * (len(seconds) - 1))])
        bad = sum(status != 200 for status, _ in outcomes)
        print(f"version {version}: {len(seconds)} replies, {bad} bad, p99 {p99s[-1]:.1f} ms", flush=True)
    for task in asking:
        task.cancel()
    steady, *swapping = p99s
    print(f"p99 {steady:.1f} ms steady; swapping x {statistics.median(swapping) / steady:.2f}", end="")
    print(f" ({min(swapping) / steady:.2f} to {max(swapping) / steady:.2f})")


async def _client(port: int, outcomes: list[tuple[int, float]]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        begin = time.monotonic()
        status, _ = await _exchange(reader, writer)
        outcomes.append((status, time.monotonic() - begin))


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str = "json1"
) -> tuple[int, bool]:
    """Post a body; the status, and whether the server closes the connection."""
    media, body = bodies()[kind]
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    reply = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(reply.split(b"content-length: ")[1].split()[0]))
    return int(reply.split()[1]), b"connection: close" in reply


async def _open_loop(port: int, rate: float, seconds: int, kind: str) -> list[tuple[int, float]]:
    """(status, seconds) of each request; status 0 where the connection failed, -1 where none was to be had."""
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    outcomes: list[tuple[int, float]] = []
    open_ = asyncio.Semaphore(CONNECTIONS)

    async def ask() -> None:
        begin = time.monotonic()
        if open_.locked():
            outcomes.append((-1, 0.0))
            return
        async with open_:
            status = 0
            try:
                reader, writer = free.pop() if free else await asyncio.open_connection("127.0.0.1", port)
                status, closes = await _exchange(reader, writer, kind)
                if closes:
                    writer.close()
                else:
                    free.append((reader, writer))
            except (OSError, asyncio.IncompleteReadError):
                pass
            outcomes.append((status, time.monotonic() - begin))

    begin, count, tasks = time.monotonic(), int(rate * seconds), set()
    for number in range(count):
        due = begin + number / rate
        if (early := due - time.monotonic()) > 0:
            await asyncio.sleep(early)
        elif number % 64 == 0:
            await asyncio.sleep(0)
        task = asyncio.create_task(ask())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return outcomes


if __name__ == "__main__":
    main()
