"""Alerts and dashboard: each metric and label that they name is one that a real server gives."""

import io
import json
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from PIL import Image

from tests.serving.conftest import running

DEPLOY = Path(__file__).parents[2] / "deploy"
OCTETS = {"Content-Type": "application/octet-stream"}
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "serving.json"
SAMPLE = re.compile(r"^(serving_\w+?)(?:\{(.*)\})? \S+$", re.MULTILINE)
NAMED = re.compile(r"(serving_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)(?:=~?|!=|!~)\"")
# What Prometheus adds to each sample.
OF_PROMETHEUS = {"instance", "job"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        *(rule["expr"] for rule in rules()),
        *(target["expr"] for panel in panels for target in panel["targets"]),
    ]


def many_large_images() -> list[tuple[str, tuple[str, bytes]]]:
    """Files of a form that take longer to decode than the deadline."""
    buffer = io.BytesIO()
    Image.new("L", (4000, 4000)).save(buffer, "PNG")
    return [("image", ("large.png", buffer.getvalue()))] * 250


@pytest.fixture(scope="module")
def given(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Metric -> its labels, as a server gives them that has predicted, and turned away what came too late."""
    log = tmp_path_factory.mktemp("server") / "log"
    with running(models, log=log, DEADLINE_MS="4000") as server:
        server.wait_until_ready()
        for body, status in (({"data": bytes(784), "headers": OCTETS}, 200), ({"files": many_large_images()}, 504)):
            assert requests.post(f"{server.url}/predict", timeout=300, **body).status_code == status
        text = requests.get(f"{server.url}/metrics", timeout=300).text
    found: dict[str, set[str]] = defaultdict(set)
    for name, labels in SAMPLE.findall(text):
        found[name] |= {label.split("=")[0].strip(",") for label in re.findall(r'[\w]+="', labels)}
    return found


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_of_prometheus_is_what_the_server_tells(given: dict[str, set[str]], expression: str) -> None:
    for name, matchers in NAMED.findall(expression):
        assert name in given, f"{name} is none of {sorted(given)}"
        labels = set(LABEL.findall(matchers))
        assert labels <= given[name] | OF_PROMETHEUS, f"{name} has the labels {sorted(given[name])}"


def test_every_metric_of_the_service_is_looked_at(given: dict[str, set[str]]) -> None:
    asked = " ".join(expressions())
    kinds = {re.sub(r"_(bucket|sum|count|total|created)$", "", name) for name in given}
    assert {kind for kind in kinds if kind not in asked} == set()


def test_alerts_say_how_grave_they_are_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert {"summary", "description"} <= set(rule["annotations"])


def test_alerts_fire_when_they_should_and_only_then() -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool (Debian's package prometheus) is not installed, so the rules were only read")
    cases = Path(__file__).with_name("alerts.yml")
    done = subprocess.run(["promtool", "test", "rules", str(cases)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_have_titles_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        assert panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
