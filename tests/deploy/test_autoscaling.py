"""The simulated autoscaler decides as Kubernetes documents it, and with the settings that the cluster gets."""

from collections import deque
from pathlib import Path

import numpy as np
import yaml

from benchmarks.autoscaling import SETTINGS, Autoscaler, Pod, answer, limit, simulate

DEPLOYED = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base" / "autoscaler.yaml"
CPU = Autoscaler(cpu=0.5, queue=None)


def test_it_simulates_what_is_deployed() -> None:
    spec = yaml.safe_load(DEPLOYED.read_text())["spec"]
    cpu, queue = spec["metrics"]
    rule = SETTINGS["as deploy/kubernetes has it"]
    assert cpu["resource"]["target"]["averageUtilization"] == 100 * rule.cpu
    assert float(queue["pods"]["target"]["averageValue"]) == rule.queue
    assert spec["minReplicas"] == rule.least
    down = spec["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] == rule.settle
    assert down["policies"] == [{"type": "Percent", "value": 100 * rule.shrink, "periodSeconds": 60}]


def test_twice_the_target_doubles_the_pods_and_half_of_it_halves_them() -> None:
    assert answer(CPU, ready=4, starting=0, cores=4.0, waiting=0) == 8
    assert answer(CPU, ready=4, starting=0, cores=1.0, waiting=0) == 2


def test_within_a_tenth_of_the_target_nothing_changes() -> None:
    assert answer(CPU, ready=10, starting=0, cores=5.4, waiting=0) == 10
    assert answer(CPU, ready=10, starting=0, cores=5.6, waiting=0) == 12


def test_pods_that_start_count_as_idle() -> None:
    assert answer(CPU, ready=4, starting=4, cores=4.0, waiting=0) == 8


def test_the_metric_that_wants_most_decides() -> None:
    assert answer(Autoscaler(cpu=0.5, queue=4), ready=2, starting=0, cores=1.0, waiting=24) == 6


def test_it_grows_by_doubling_or_by_four() -> None:
    assert limit(CPU, 15, 2, 50, deque(), deque()) == 6
    assert limit(CPU, 15, 10, 50, deque(), deque()) == 20


def test_it_shrinks_slowly_and_only_when_nothing_else_was_wanted_for_minutes() -> None:
    rule = Autoscaler(settle=300, shrink=0.1)
    answers, gone = deque([(0, 100)]), deque[tuple[int, int]]()
    assert limit(rule, 285, 100, 40, answers, gone) == 100
    assert limit(rule, 300, 100, 40, answers, gone) == 90
    assert limit(rule, 315, 90, 40, answers, gone) == 90
    assert limit(rule, 360, 90, 40, answers, gone) == 81


def test_requests_are_lost_only_when_more_come_than_pods_hold() -> None:
    quiet = simulate(np.full(3600, 100.0), Pod(rate=100, start=10), Autoscaler())
    assert quiet.lost == 0
    flood = simulate(np.full(60, 1000.0), Pod(rate=100, start=600, room=80), Autoscaler(least=20, most=1, queue=None))
    assert flood.requests == 60_000
    assert flood.lost > 0
