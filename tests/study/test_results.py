"""A finished run is read back unchanged, and is never used for another experiment."""

from dataclasses import replace
from pathlib import Path

from study.experiments import Job, fingerprint
from study.pipeline import finished
from study.results import load, save
from tests.study.conftest import EXPERIMENTS, MakeResult

JOB = Job(EXPERIMENTS["basic-adam"], 0)


def test_a_saved_result_is_loaded_unchanged(tmp_path: Path, result: MakeResult) -> None:
    assert load(tmp_path, JOB) is None
    made = result("basic-adam")
    save(tmp_path, made, JOB)
    assert load(tmp_path, JOB) == made
    assert made.confusion.tolist() == [[3, 0, 0], [0, 3, 0], [2, 0, 2]]


def test_a_result_of_another_version_is_reported_and_not_used(tmp_path: Path, result: MakeResult) -> None:
    save(tmp_path, result("basic-adam"), JOB)
    longer = replace(JOB.experiment, config=replace(JOB.experiment.config, epochs=50))
    assert "another version" in str(load(tmp_path, Job(longer, 0)))
    assert finished([longer], tmp_path.parent) == {}


def test_a_result_from_before_a_setting_existed_is_used_while_the_setting_is_off(
    tmp_path: Path, result: MakeResult
) -> None:
    config = {name: value for name, value in JOB.config.asdict().items() if name not in ("normalization", "noise")}
    older = result("basic-adam", config=config, fingerprint=fingerprint(config, JOB.experiment))
    save(tmp_path, older, JOB)
    assert load(tmp_path, JOB) == older
    noisy = replace(JOB.experiment, config=replace(JOB.experiment.config, noise=8))
    assert "another version" in str(load(tmp_path, Job(noisy, 0)))


def test_a_damaged_result_is_reported_and_not_used(tmp_path: Path) -> None:
    (tmp_path / f"{JOB.name}.json").write_text('{"id": "basic-adam", "see')
    assert "not readable" in str(load(tmp_path, JOB))
