"""The files for clusters: what kustomize makes of them is valid, hardened, and agrees with the service's settings."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.requirements import EXTRAS
from serving.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CLUSTER = DEPLOY / "kubernetes"
KUSTOMIZED = sorted(path.parent for path in CLUSTER.rglob("kustomization.yaml"))
VERSIONS = ("1.31", "1.34")  # of Kubernetes: the oldest that people run, and one of now
# What KServe adds to a pod, in https://kserve.github.io/website/docs/reference/crd-api (PredictorSpec).
KSERVE = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"}


def build(directory: Path) -> list[dict[str, Any]]:
    """The resources that kustomize makes of `directory`."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return [*yaml.safe_load_all(done.stdout)]
    pytest.skip("neither kustomize nor kubectl is installed, so that what they build could not be looked at")


def manifests() -> list[Path]:
    return [path for path in sorted(CLUSTER.rglob("*.yaml")) if path.name not in ("kustomization.yaml", "images.yaml")]


def validate(resource: dict[str, Any]) -> None:
    for version in VERSIONS:
        if resource["kind"] == "InferenceService":
            # Its own schema is in no package; what it says of the pod must be a pod's all the same.
            pod = {key: value for key, value in resource["spec"]["predictor"].items() if key not in KSERVE}
            resource = {"apiVersion": "v1", "kind": "Pod", "metadata": resource["metadata"], "spec": pod}
        kubernetes_validate.validate(resource, version, strict=True)


def pods(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pod specifications among `resources`."""
    predictors = [each["spec"]["predictor"] for each in resources if each["kind"] == "InferenceService"]
    return predictors + [
        each["spec"]["template"]["spec"] for each in resources if each["kind"] in ("Deployment", "Job")
    ]


def only(resources: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    (found,) = (each for each in resources if each["kind"] == kind and each["metadata"]["name"].startswith(name))
    return found


@pytest.mark.parametrize("path", manifests(), ids=lambda path: str(path.relative_to(CLUSTER)))
def test_a_manifest_is_what_kubernetes_takes(path: Path) -> None:
    for resource in yaml.safe_load_all(path.read_text()):
        validate(resource)


def test_a_misspelt_field_would_be_found() -> None:
    (deployment,) = yaml.safe_load_all((CLUSTER / "base" / "deployment.yaml").read_text())
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        validate(deployment)


@pytest.mark.parametrize("directory", KUSTOMIZED, ids=lambda path: str(path.relative_to(CLUSTER)))
def test_what_kustomize_builds_is_valid_and_hardened(directory: Path) -> None:
    resources = build(directory)
    for resource in resources:
        validate(resource)
    for pod in pods(resources):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
            assert re.fullmatch(r"[a-z/-]+:[a-z0-9.-]+", container["image"]), "an image without a tag is any image"
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            assert "/tmp" in mounts  # noqa: S108  # the one place that a container may write to


def test_everything_that_selects_pods_selects_the_service_s() -> None:
    resources = build(CLUSTER / "base")
    labels = only(resources, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        only(resources, "Deployment")["spec"]["selector"]["matchLabels"],
        only(resources, "Service")["spec"]["selector"],
        only(resources, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(resources, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()
    target = only(resources, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == only(resources, "Deployment")["metadata"]["name"]


@pytest.mark.parametrize("name", ["base", "kserve"])
def test_a_pod_answers_until_load_balancers_know_that_it_goes_and_has_time_to_finish(name: str) -> None:
    (pod,) = pods(build(CLUSTER / name))
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert sleep >= 10
    assert pod["terminationGracePeriodSeconds"] > sleep + Settings().graceful_timeout


def test_overlays_change_the_image_the_memory_or_the_number_of_pods() -> None:
    def seen(directory: Path) -> tuple[str, int, int]:
        resources = build(directory)
        (container,) = pods(resources)[0]["containers"]
        name, _, target = container["image"].partition(":")
        assert (name, target in EXTRAS) == ("cnn-model-service", True)
        memory = container["resources"]["limits"]["memory"]
        mebibytes = int(memory[:-2]) * {"Gi": 1024, "Mi": 1}[memory[-2:]]
        return target, mebibytes, only(resources, "HorizontalPodAutoscaler")["spec"]["maxReplicas"]

    base, lite, large = (seen(CLUSTER / name) for name in ("base", "overlays/lite", "overlays/large"))
    assert (base[0], lite[0]) == ("serve", "serve-lite")
    assert lite[1] < base[1]
    assert lite[2] == base[2]
    assert large[:2] == lite[:2]
    assert large[2] > lite[2]


@pytest.mark.parametrize(
    ("index", "expected"), [("0", "chief 0.0.0.0 --trials 60"), ("2", "tuner2 tune-0.tune --trials 60")]
)
def test_a_search_s_pods_know_by_their_index_who_they_are(tmp_path: Path, index: str, expected: str) -> None:
    (pod,) = pods([*yaml.safe_load_all((CLUSTER / "jobs" / "tune" / "job.yaml").read_text())])
    (container,) = pod["containers"]
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\nshift 2; echo "$KERASTUNER_TUNER_ID $KERASTUNER_ORACLE_IP $*"\n')
    python.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": index}
    command = [*container["command"], *container["args"]]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_every_variable_that_is_set_is_a_setting() -> None:
    known = {name.upper() for name in Settings.__dataclass_fields__}
    for directory in (CLUSTER / "base", CLUSTER / "kserve"):
        for pod in pods(build(directory)):
            assert {each["name"] for each in pod["containers"][0]["env"]} <= known
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(compose["services"]["serving"]["environment"]) <= known


def test_compose_mounts_files_that_are_there_and_pins_what_it_pulls() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for service in compose["services"].values():
        assert re.search(r":[\w.-]+}?$", service["image"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith("./") or (DEPLOY / source).exists()
        # Grafana and Prometheus are open to everyone who reaches them, so only this machine may.
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    serving = compose["services"]["serving"]
    assert serving["read_only"]
    assert serving["cap_drop"] == ["ALL"]
    assert int(serving["stop_grace_period"].removesuffix("s")) > Settings().graceful_timeout
