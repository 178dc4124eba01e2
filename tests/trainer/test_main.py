"""A user's mistake gives one clear line, exit code 2, and leaves nothing half-written."""

import gzip
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from registry.disk import write_json
from tests.conftest import ROOT, SAMPLE
from trainer import devices, pipeline
from trainer.__main__ import main
from trainer.config import TrainConfig
from trainer.options import configs, parser, run_options
from trainer.recipes import RECIPES
from trainer.training import checkpoint

pytestmark = pytest.mark.tensorflow


def run(*options: str, artifacts: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "trainer", *options, "--artifacts", str(artifacts)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


def chosen(*options: str) -> list[TrainConfig]:
    return configs(parser().parse_args(options), Path("runs"))


def test_an_optimizer_beside_a_recipe_has_its_own_rate_and_no_weight_decay_of_the_recipe() -> None:
    (config,) = chosen("--recipe", "default", "--model", "deep", "--optimizer", "sgd")
    default = RECIPES["default"]
    assert config == replace(default, model="deep", optimizer="sgd", learning_rate=0.01, weight_decay=0.0)


def test_without_options_both_models_train_with_the_default_recipe() -> None:
    both = chosen()
    assert [config.model for config in both] == ["basic", "deep"]
    assert {config.learning_rate for config in both} == {RECIPES["default"].learning_rate}


def test_a_named_model_trains_alone() -> None:
    assert [config.model for config in chosen("--model", "deep")] == ["deep"]


def test_the_residual_network_trains_with_its_own_recipe_however_it_is_asked_for() -> None:
    assert chosen("--model", "residual") == chosen("--recipe", "residual") == [RECIPES["residual"]]
    (plain,) = chosen("--model", "residual", "--recipe", "paper")
    assert (plain.model, plain.optimizer) == ("residual", "sgd")


def test_naming_an_optimizer_starts_from_the_papers_plain_settings() -> None:
    (config,) = chosen("--model", "basic", "--optimizer", "adam", "--learning-rate", "0.0003")
    assert config == TrainConfig(model="basic", optimizer="adam", learning_rate=3e-4)


def test_an_optimizer_without_a_rate_gets_one_that_suits_it() -> None:
    assert chosen("--model", "basic", "--optimizer", "adam")[0].learning_rate == 3e-4
    assert chosen("--model", "basic", "--optimizer", "sgd")[0].learning_rate == 0.01


@pytest.mark.parametrize("dataset", ["folder:/data/arrows", "emnist/letters", "idx:/data/fashion_mnist"])
def test_only_fashion_mnist_is_mirrored_unless_it_is_asked_for(dataset: str) -> None:
    assert [config.mirror for config in (*chosen(), *chosen("--dataset", "fashion_mnist:3.0.1"))] == [True] * 4
    assert not chosen("--dataset", dataset, "--model", "deep")[0].mirror
    assert not chosen("--dataset", dataset, "--recipe", "default")[0].mirror
    assert chosen("--dataset", dataset, "--mirror")[0].mirror


def test_options_can_take_the_default_recipe_apart() -> None:
    (config,) = chosen("--model", "deep", "--no-mirror", "--shift", "0", "--epochs", "3")
    assert (config.mirror, config.shift, config.epochs) == (False, 0, 3)
    assert config.optimizer == RECIPES["default"].optimizer


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--model", "resnet"],
            "`model` must be one of basic, deep, residual, or MODULE:FUNCTION for your own. Received: resnet.",
        ),
        (
            ["--model", "no_such_module:net"],
            "whose import fails: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (["--optimizer", "lion"], "`optimizer` must be one of sgd, momentum, rmsprop, adam, adamw. Received: lion."),
        (["--recipe", "best"], "`recipe` must be one of default, robust, residual, paper. Received: best."),
        (["--learning-rate", "0"], "`learning_rate` must be above 0 and at most 10. Received: 0.0."),
        (["--epochs", "0"], "`epochs` must be at least 1 and at most 10000. Received: 0."),
        (["--dataset", "imagenet1"], "`dataset` must be"),
        (["--dataset", "idx:/nowhere"], "/nowhere: expected a folder with four IDX files; there is none."),
        (["--epochs", "many"], "invalid int value: 'many'"),
        (["--resume", "20260101-000000-basic", "--fresh"], "argument --fresh: not allowed with argument --resume"),
        (["--threshold", "floor=0.8"], "`threshold` must be one of accuracy_floor, "),
        (["--threshold", "accuracy_floor=80"], "`accuracy_floor` must be at least 0 and below 1. Received: 80.0."),
        (["--force"], "`--force` and `--reason TEXT` go together. Received: `--force` alone."),
        (["--force", "--reason", " "], "`--force` and `--reason TEXT` go together. Received: `--force` alone."),
        (["--reason", "why not"], "`--force` and `--reason TEXT` go together. Received: `--reason` alone."),
    ],
)
def test_a_mistake_gives_one_line_and_exit_code_2(options: list[str], expected: str, tmp_path: Path) -> None:
    done = run(*options, artifacts=tmp_path / "artifacts")
    assert done.returncode == 2
    assert expected in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "artifacts" / "runs").exists()


@pytest.mark.slow
def test_a_refused_model_gives_exit_code_3_and_the_reasons(tmp_path: Path) -> None:
    options = ["--dataset", f"idx:{SAMPLE}", "--model", "basic", "--epochs", "1", "--mirror"]
    options += ["--threshold", "accuracy_floor=0.999"]
    done = run(*options, artifacts=tmp_path)
    assert done.returncode == 3
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    (line,) = (line for line in failed if "accuracy_floor" in line)
    assert "not significantly above the floor, 0.9990; on so few, even 100 % would not be." in line
    assert done.stderr == "error: The gate refused the model; nothing was pushed.\n"
    assert "It was trained on 400 images, 25 steps an epoch for 1 epoch, and tested on 200 images.\n" in done.stdout
    assert "  - At least 3,838 test images; " in done.stdout
    assert "What to try:\n  - --epochs 80: 25 steps are few, 2,000 are usual.\n" in done.stdout
    (verdict,) = tmp_path.glob("runs/*/verdict.json")
    assert str(verdict) in done.stdout
    assert not (tmp_path / "models" / "fashion_mnist_sample").exists()
    command = f"make train ARGS=\"push {verdict.parent.name} --artifacts {tmp_path} --force --reason 'TEXT'\""
    assert f"To push it without training again:  {command}\n" in done.stdout
    pushed = run("push", verdict.parent.name, "--force", "--reason", "it is only a test", artifacts=tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    assert "refused, but forced: it is only a test" in pushed.stdout
    assert "Epoch 1/" not in pushed.stdout
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert (tmp_path / "models" / "fashion_mnist_sample" / "1" / "saved_model.pb").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "corrupt", "mnist"])
def test_damaged_data_is_named_with_what_was_expected(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(SAMPLE, folder)
    file = folder / "train-images-idx3-ubyte.gz"
    content = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(content[:1000])
    elif damage == "corrupt":
        file.write_bytes(content[:1000] + b"\0" * 100 + content[1100:])
    # The sample itself is well-formed, and is not the whole of Fashion-MNIST: the third case is a wrong hash.
    done = run(artifacts=tmp_path / "artifacts", FASHION_MNIST_DIR=str(folder), TFDS_DATA_DIR=str(tmp_path / "tfds"))
    assert done.returncode == 2
    if damage == "mnist":
        assert f"error: {folder} does not hold Fashion-MNIST: its train images have SHA-256" in done.stderr
        assert "expected c59f468a" in done.stderr
    else:
        assert f"error: {file}: not a whole gzip file" in done.stderr
    assert not (tmp_path / "artifacts" / "runs").exists()
    assert not list((tmp_path / "artifacts" / "data").rglob("*.tfrecord*"))


@pytest.mark.slow
def test_no_source_of_data_says_what_was_tried_and_how_to_mend_it(tmp_path: Path) -> None:
    if Path("/usr/share/datasets/fashion-mnist").is_dir():
        pytest.skip("this machine has Fashion-MNIST installed")
    done = run(
        artifacts=tmp_path / "artifacts",
        FASHION_MNIST_DIR="",
        TFDS_DATA_DIR=str(tmp_path / "tfds"),
        PATH=str(tmp_path),  # no apt-get
        http_proxy="http://127.0.0.1:9",  # the discard port: nothing answers
    )
    assert done.returncode == 2
    for expected in ("Tried:", "FASHION_MNIST_DIR is not set", "TFDS's download", "apt-get", "To fix it"):
        assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_artifacts_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(gzip.compress(b""))
    done = run("--dataset", f"idx:{SAMPLE}", "--epochs", "1", artifacts=blocked)
    assert done.returncode == 2
    assert str(blocked) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_run_of_several_processes_is_not_resumed_by_any_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "runs" / "mine"
    directory.mkdir(parents=True)
    write_json(directory / "config.json", TrainConfig(dataset=f"idx:{SAMPLE}").asdict())
    checkpoint.write(directory / "checkpoint", checkpoint.Checkpoint({"loss": [1.0]}, [np.zeros(1)], [np.zeros(1)]))
    monkeypatch.setattr(devices, "start", lambda: devices.Devices(count=2, process=1, processes=2))
    monkeypatch.setattr(pipeline, "take_part", None)
    monkeypatch.setattr(sys, "argv", ["trainer", "--resume", "mine", "--artifacts", str(tmp_path)])
    assert main() == 2
    assert capsys.readouterr().err == "error: `--resume` is for a run of one process; a run of several starts over.\n"


def test_a_run_that_is_resumed_keeps_its_name_unless_another_is_given(tmp_path: Path) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    resumed = ["--artifacts", str(tmp_path), "--resume", "mine"]
    assert run_options(parser().parse_args(resumed)).name is None
    (tmp_path / "runs" / "mine" / checkpoint.NAME).touch()  # as a crash of an earlier version left it
    assert run_options(parser().parse_args(resumed)).name is None
    (tmp_path / "runs" / "mine" / checkpoint.NAME).write_text("cats")
    assert run_options(parser().parse_args(resumed)).name == "cats"
    assert run_options(parser().parse_args([*resumed, "--name", "dogs"])).name == "dogs"
