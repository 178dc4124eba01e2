"""The autoscaler over a day: which settings lose how many requests, and how many pods they use. A simulation.

    python -m benchmarks.autoscaling [--peak 10000] [--rate 600] [--start 10]

The algorithm is that of https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details:
every 15 s, the greater answer of two metrics, each ceil(pods x value / target) outside a tolerance of 10 %, where
pods that start count as idle; growth at once, by doubling or 4 pods; shrinking to the greatest answer of the last
minutes. Pods are a fluid: each answers `rate` requests a second, holds THREADS + MAX_QUEUE, and refuses the rest.
What it leaves out: nodes that must be bought first, images that must be fetched, and an uneven balance between pods.
"""

import argparse
import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serving.settings import Settings

DAY = 86_400
SYNC = 15  # seconds between the autoscaler's looks, and of CPU that a look averages
TOLERANCE = 0.1
# Share of the peak by the hour: a night, a morning's rise, an evening's summit.
HOURS = (30, 22, 17, 15, 15, 18, 28, 42, 55, 62, 66, 70, 74, 72, 68, 66, 68, 74, 84, 94, 100, 92, 70, 46)
BURST = (13 * 3600, 600, 30, 2.5)  # at, for, rising over so many seconds to so many times the load


@dataclass(frozen=True)
class Autoscaler:
    """What a HorizontalPodAutoscaler is told."""

    cpu: float = 0.6  # of a pod's core, that it aims at
    queue: float | None = 4.0  # waiting requests a pod, that it aims at
    least: int = 2
    most: int = 200
    settle: int = 300  # seconds of answers that shrinking looks back on
    shrink: float = 0.1  # of the pods, that may go in a minute


@dataclass(frozen=True)
class Pod:
    """What one pod can do."""

    rate: float  # requests a second
    start: int  # seconds until it is ready
    room: int = Settings().threads + Settings().max_queue


@dataclass(frozen=True)
class Day:
    """What a day came to."""

    requests: float
    lost: float
    hours: float  # of all pods
    most: int  # pods at a time


SETTINGS = {
    "as deploy/kubernetes has it": Autoscaler(),
    "CPU alone": Autoscaler(queue=None),
    "CPU alone, at 80 %": Autoscaler(cpu=0.8, queue=None),
    "CPU alone, at 40 %": Autoscaler(cpu=0.4, queue=None),
    "CPU at 80 %, and the queue": Autoscaler(cpu=0.8),
    "shrinking at once": Autoscaler(settle=0, shrink=1.0),
}


def load(peak: float, burst: bool, seed: int = 0) -> NDArray[np.float64]:
    """Requests that arrive in each second of a day."""
    curve = np.interp(np.arange(DAY) / 3600, np.arange(25), (*HOURS, HOURS[0])) / 100 * peak
    # Ten-second gusts: what many clients together still vary by.
    curve *= np.repeat(np.random.default_rng(seed).normal(1, 0.05, DAY // 10), 10).clip(0)
    if burst:
        at, length, rise, times = BURST
        curve[at : at + length] *= 1 + (times - 1) * np.minimum(np.arange(length) / rise, 1)
    return curve


def simulate(arriving: NDArray[np.float64], pod: Pod, rule: Autoscaler) -> Day:
    """A day second by second, beginning with the pods that its first minute needs."""
    ready = max(rule.least, math.ceil(arriving[:60].max() / pod.rate / rule.cpu))
    starting: deque[int] = deque()  # when each will be ready
    answers: deque[tuple[int, int]] = deque()
    gone: deque[tuple[int, int]] = deque()
    waiting = lost = busy = deepest = hours = 0.0
    most = ready
    for second, requests in enumerate(arriving.tolist()):
        while starting and starting[0] <= second:
            starting.popleft()
            ready += 1
        waiting += requests
        served = min(waiting, ready * pod.rate)
        waiting -= served
        refused = max(0.0, waiting - ready * pod.room)
        waiting -= refused
        lost += refused
        busy += served / pod.rate
        deepest = max(deepest, waiting)
        hours += (ready + len(starting)) / 3600
        if second % SYNC == SYNC - 1:
            pods = ready + len(starting)
            wanted = answer(rule, ready, len(starting), busy / SYNC, deepest)
            wanted = limit(rule, second, pods, wanted, answers, gone)
            starting.extend([second + pod.start] * (wanted - pods))
            while ready + len(starting) > wanted:  # the youngest go first
                if starting:
                    starting.pop()
                else:
                    ready -= 1
            most = max(most, wanted)
            busy = deepest = 0.0
    return Day(float(arriving.sum()), lost, hours, most)


def answer(rule: Autoscaler, ready: int, starting: int, cores: float, waiting: float) -> int:
    """Pods wanted by the metric that wants most: `cores` in use and requests `waiting`, of all ready pods."""
    values = [(cores, rule.cpu)] + ([(waiting, rule.queue)] if rule.queue else [])
    return max(_pods(total, target, ready, starting) for total, target in values)


def _pods(total: float, target: float, ready: int, starting: int) -> int:
    ratio = total / ready / target
    counted = ready
    if ratio > 1 and starting:
        counted += starting
        ratio = max(1.0, total / counted / target)  # those that start may tame the growth, not turn it round
    if abs(ratio - 1) <= TOLERANCE:
        return ready + starting
    return math.ceil(ratio * counted)


def limit(
    rule: Autoscaler,
    second: int,
    pods: int,
    wanted: int,
    answers: deque[tuple[int, int]],
    gone: deque[tuple[int, int]],
) -> int:
    """What of the wish is done now: growth and shrinking at their pace, between the least and the most."""
    answers.append((second, wanted))
    while answers[0][0] <= second - max(rule.settle, 1):
        answers.popleft()
    while gone and gone[0][0] <= second - 60:
        gone.popleft()
    if wanted > pods:
        wanted = min(wanted, max(2 * pods, pods + 4))
    elif wanted < pods:
        wanted = min(pods, max(each for _, each in answers))
        before = pods + sum(each for _, each in gone)
        wanted = max(wanted, math.floor(before * (1 - rule.shrink)))
        wanted = min(wanted, pods)
    wanted = min(max(wanted, rule.least), rule.most)
    if wanted < pods:
        gone.append((second, pods - wanted))
    return wanted


def main() -> None:
    options = _options()
    pod = Pod(options.rate, options.start)
    for burst in (False, True):
        arriving = load(options.peak, burst)
        fixed = math.ceil(arriving.max() / pod.rate / 0.8)
        at, length, rise, times = BURST
        print(
            f"\n{arriving.sum() / 1e6:.0f} million requests, {options.peak:,.0f}/s in the evening"
            + (
                f", and {times} times the load for {length // 60} minutes from {at // 3600}:00, in {rise} s"
                if burst
                else ""
            )
            + f"; {pod.rate:,.0f}/s a pod, ready after {pod.start} s"
        )
        print(f"{'':<30} {'lost':>10} {'of all':>9} {'pod hours':>10} {'most pods':>10}")
        print(f"{'a fixed number, for the summit':<30} {0:>10} {0:>9.4%} {fixed * 24:>10} {fixed:>10}")
        for name, rule in SETTINGS.items():
            day = simulate(arriving, pod, replace(rule, most=options.most))
            print(f"{name:<30} {day.lost:>10.0f} {day.lost / day.requests:>9.4%} {day.hours:>10.0f} {day.most:>10}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peak", type=float, default=10_000, help="requests a second at the day's summit")
    parser.add_argument("--rate", type=float, default=600, help="requests a second that a pod answers")
    parser.add_argument("--start", type=int, default=10, help="seconds from the autoscaler's wish to a ready pod")
    parser.add_argument("--most", type=int, default=200, help="pods that there may be")
    return parser.parse_args()


if __name__ == "__main__":
    main()
