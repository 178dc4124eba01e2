"""What one core gives, and a second one: the service with 1 and 2 workers on both runtimes, in interleaved rounds.

    python -m benchmarks.workers MODELS [--rounds 3] [--seconds 4]

"one core" is a pod of deploy/kubernetes: one worker that has a core to itself, while wrk has the others. In the other
rows server and wrk share all cores, as `make serve` and its clients on one machine do.
"""

import argparse
import os
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.serving import Measured, proportional_memory, running, served_version, wrk

CONNECTIONS = 32
KINDS = {"json1": 1, "raw32": 32}  # kind of body -> its images
PLACES = {"one core, 1 worker": (1, True), "all cores, 1 worker": (1, False), "all cores, 2 workers": (2, False)}
RUNTIMES = ("tensorflow", "litert")


def main() -> None:
    options = _options()
    version = served_version(options.models)
    seen: dict[tuple[str, str, str], list[Measured]] = defaultdict(list)
    memory: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(options.rounds):
            for runtime in RUNTIMES:
                for place, (workers, alone) in PLACES.items():
                    # Whatever this process starts inherits the cores that it may use.
                    os.sched_setaffinity(0, {min(ALL)} if alone else ALL)
                    with running(runtime, version, WORKERS=str(workers)) as server:
                        os.sched_setaffinity(0, ALL - {min(ALL)} if alone else ALL)
                        for kind in KINDS:
                            measured = wrk(server.url, kind, CONNECTIONS, options.seconds, Path(scratch))
                            seen[runtime, place, kind].append(measured)
                        memory[runtime, place].append(proportional_memory(server.pid))
    for (runtime, place, kind), rounds in seen.items():
        rates = [each.rate for each in rounds]
        rate, tail = statistics.median(rates), statistics.median(each.p99 for each in rounds)
        print(
            f"{runtime:<10} {place:<20} {kind:<5} {rate:6.0f}/s ({min(rates):.0f} to {max(rates):.0f}), "
            f"{rate * KINDS[kind]:7.0f} images/s, p99 {tail:6.1f} ms, {sum(each.bad for each in rounds)} refused, "
            f"{statistics.median(memory[runtime, place]):.0f} MiB"
        )


ALL = os.sched_getaffinity(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    main()
