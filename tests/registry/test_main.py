"""The registry's command line: what a user types, reads and gets as an exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.__main__ import main
from registry.card import CARD_PATH, ModelCard, TensorSpec
from registry.store import ModelStore
from tests.conftest import ROOT

Publish = Callable[..., int]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command on the store's models: exit code, standard output, standard error."""

    def ran(*arguments: str, models: Path = store.root) -> tuple[int, str, str]:
        try:
            code = main([*arguments, "--models", str(models)])
        except SystemExit as error:  # argparse's own way out
            code = int(error.code or 0)
        return code, *capsys.readouterr()

    return ran


def test_list_is_an_aligned_table_that_marks_the_served_version(store: ModelStore, publish: Publish, run: Run) -> None:
    publish(metrics={})
    publish(verdict=VERDICT | {"accepted": True, "forced": None})
    assert run("list") == (
        0,
        "name           version  created (UTC)     model  test accuracy            gate\n"
        "fashion_mnist  1        2026-01-31 12:00  basic  -                        not judged\n"
        "fashion_mnist  2        2026-01-31 12:00  basic  0.9000 [0.8900, 0.9100]  accepted    served\n",
        "",
    )
    store.pin(1)
    lines = run("list")[1].splitlines()
    assert lines[1].endswith("served, pinned")
    assert lines[2].endswith("accepted")


def test_list_without_a_name_lists_every_model_and_shows_which_versions_were_forced(
    store: ModelStore, publish: Publish, run: Run
) -> None:
    publish(), publish()
    publish(ModelStore(store.root, "cifar10"), name="cifar10", verdict=VERDICT)
    (store.directory / "pinned").write_text("7")
    code, out, _ = run("list")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert code == 0
    assert [row[:2] for row in rows[:3]] == [["cifar10", "1"], ["fashion_mnist", "1"], ["fashion_mnist", "2"]]
    assert out.splitlines()[1].endswith("refused, forced  served")
    assert out.splitlines()[-1].startswith(f"{store.directory}/pinned names version 7, which is not there")
    assert run("list", "--name", "cifar10")[1].count("\n") == 2


def test_list_shows_a_damaged_card_among_the_others(store: ModelStore, publish: Publish, run: Run) -> None:
    publish(), publish()
    (store.path(1) / CARD_PATH).write_text("{")
    code, out, _ = run("list")
    assert code == 0
    assert "damaged card: see verify 1" in out
    assert "served" in out


def test_show_prints_the_card_as_json(publish: Publish, run: Run) -> None:
    publish()
    code, out, _ = run("show", "1")
    assert code == 0
    assert json.loads(out)["config"]["model"] == "basic"


VERDICT = {
    "accepted": False,
    "forced": "the floor is being moved",
    "forced_by": "ada",
    "against": 1,
    "checks": [
        {
            "name": "floor",
            "passed": False,
            "value": 0.9,
            "threshold": 0.95,
            "sentence": "Accuracy is below the floor.",
        }
    ],
}


def test_explain_shows_all_that_is_known_of_a_version(
    card: ModelCard, store: ModelStore, publish: Publish, run: Run
) -> None:
    publish()
    history = {"val_accuracy": [0.7, 0.85, 0.9, 0.88], "val_loss": [0.9, 0.5, None, 0.3]}
    publish(
        config=card.config | {"search": {"id": "search-1", "trial": 4}},
        metrics=card.metrics | {"history": history, "per_class": {"Trouser": {"recall": 0.97}}},
        verdict=VERDICT,
    )
    code, out, _ = run("explain", "2", "--all")
    assert code == 0
    for line in (
        "fashion_mnist version 2",
        "  served    yes, as the newest",
        "  replaced  version 1, test accuracy 0.9000 [0.8900, 0.9100]",
        "  takes     images: float32 of shape (batch, 28, 28, 1)",
        f"  sha256        {'ab' * 32}",
        "  images.train  55000",
        "  seed           7",
        "  commit      0123abc",
        "  tensorflow  2.21.0",
        "  val_accuracy  ▁▆█▇  0.7 to 0.88  best 0.9 in epoch 3 of 4",
        "  val_loss      █▃ ▁  0.9 to 0.3   best 0.3 in epoch 4 of 4",
        "  test_interval             [0.89, 0.91]",
        "  per_class.Trouser.recall  0.97",
        "  refused, forced by ada: the floor is being moved, compared with version 1",
        "  FAILED  floor  0.9 against 0.95  Accuracy is below the floor.",
    ):
        assert line in out.splitlines()


def test_explain_fits_one_screen_and_tells_the_failed_checks(
    card: ModelCard, store: ModelStore, publish: Publish, run: Run
) -> None:
    passed = [{**VERDICT["checks"][0], "name": f"check{number}", "passed": True} for number in range(6)]
    publish()
    publish(
        classes=tuple(f"class {number}" for number in range(1000)),
        output=TensorSpec("probabilities", (1000,), "float32"),
        metrics=card.metrics
        | {"history": {"val_accuracy": [0.5, 0.6]}, "parameters": 1234, "per_class": {"Trouser": {"recall": 0.75}}},
        verdict=VERDICT | {"checks": [*VERDICT["checks"], *passed]},
    )
    lines = run("explain", "2")[1].splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 120
    for line in (
        "  replaced       version 1, test accuracy 0.9000 [0.8900, 0.9100]",
        "  model          basic, 1,234 parameters, 2 epochs",
        "  accuracy       0.9000 [0.8900, 0.9100] on test images",
        "  lowest recall  0.75, of Trouser",
        "  FAILED  floor   0.9 against 0.95  Accuracy is below the floor.",
        "  passed  check0  0.9 against 0.95",
        "  .venv/bin/python -m registry explain 2 --all --name fashion_mnist",
    ):
        assert line in lines


def test_explain_says_which_version_was_served_before_and_not_which_has_the_number_before(
    store: ModelStore, publish: Publish, run: Run
) -> None:
    publish(), publish()
    publish(verdict=VERDICT)
    assert "  replaced  version 1, " in run("explain", "3")[1]
    publish(verdict=VERDICT | {"against": 9})
    assert "  replaced  version 3, " in run("explain", "4")[1]


def test_explain_leaves_out_what_the_card_does_not_have(store: ModelStore, publish: Publish, run: Run) -> None:
    publish(), publish(), publish()
    store.pin(2)
    store.prune(1)
    first, second = run("explain", "2")[1], run("explain", "3")[1]
    assert "yes, because it is pinned" in first
    assert "a version that is no longer here" in first
    assert "no, version 2 is" in second
    assert "Training" not in first
    assert "not judged" in first


def test_a_long_training_is_still_one_line(publish: Publish, run: Run) -> None:
    publish(metrics={"history": {"accuracy": [i / 200 for i in range(200)]}})
    (line,) = (line for line in run("explain", "1", "--all")[1].splitlines() if "█" in line)
    assert len(line) < 130


def test_compare_shows_only_what_differs(publish: Publish, run: Run) -> None:
    publish()
    publish(metrics={"test_accuracy": 0.92}, commit="fedcba9")
    code, out, _ = run("compare", "1", "2")
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["metrics.test_accuracy", "0.9", "0.92", "+0.02"],
        ["metrics.test_interval", "[0.89,", "0.91]", "-"],
        ["commit", "0123abc", "fedcba9"],
    ]
    assert "differ in nothing" in run("compare", "1", "1")[1]


def test_options_may_stand_before_the_command(store: ModelStore, publish: Publish) -> None:
    publish()
    for arguments in (["--models", str(store.root), "list"], ["list", "--models", str(store.root)]):
        assert main(arguments) == 0


def test_pin_unpin_and_prune_do_what_they_say(store: ModelStore, publish: Publish, run: Run) -> None:
    for _ in range(3):
        publish()
    assert run("pin", "1")[:2] == (
        0,
        "Version 1 of fashion_mnist is pinned; services change to it in seconds.\n",
    )
    assert store.served() == 1
    assert run("prune", "--keep", "1")[:2] == (0, "Removed version 2 of fashion_mnist.\n")
    assert run("prune", "--keep", "1")[:2] == (0, "There was nothing to remove.\n")
    assert run("unpin")[:2] == (0, "Nothing is pinned; the newest version of fashion_mnist, 3, is served.\n")
    assert store.served() == 3


def test_verify_exits_1_where_something_is_damaged(store: ModelStore, publish: Publish, run: Run) -> None:
    publish(), publish()
    assert run("verify")[:2] == (0, "Undamaged: versions 1, 2.\n")
    (store.path(2) / "saved_model.pb").write_bytes(b"")
    assert run("verify")[:2] == (1, "version 2: saved_model.pb has changed\n")
    assert run("verify", "1")[:2] == (0, "Undamaged: version 1.\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "9"], "There is no version 9 of fashion_mnist"),
        (["explain", "9"], "there is version 1"),
        (["compare", "1", "9"], "There is no version 9"),
        (["pin", "one"], "invalid int value: 'one'"),
        (["prune"], "required: --keep"),
        (["prune", "--keep", "0"], "must be at least 1"),
        (["list", "--name", "mnist"], "There is no model mnist in"),
        (["list", "--name", "../x"], "A model's name must be"),
        (["polish"], "invalid choice: 'polish'"),
        ([], "required: COMMAND"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(publish: Publish, run: Run, arguments: list[str], sentence: str) -> None:
    publish()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sentence in err


def test_a_card_that_cannot_be_read_is_a_mistake_too(store: ModelStore, publish: Publish, run: Run) -> None:
    publish()
    (store.path(1) / CARD_PATH).write_text('{"format": 2}')
    code, _, err = run("show", "1")
    assert code == 2
    assert "upgrade" in err


def test_of_several_models_a_command_is_about_the_one_pushed_last_unless_another_is_named(
    store: ModelStore, publish: Publish, run: Run
) -> None:
    publish(), publish()
    publish(ModelStore(store.root, "cifar10"), name="cifar10", created="2026-02-28T12:00:00+00:00")
    note = "note: this is about cifar10, pushed last; --name chooses fashion_mnist\n"
    assert run("pin", "1") == (
        0,
        "Version 1 of cifar10 is pinned; services change to it in seconds.\n",
        note,
    )
    assert run("unpin")[0] == run("explain", "1")[0] == run("prune", "--keep", "5")[0] == 0
    assert run("show", "2")[0] == 2
    assert run("explain", "2", "--name", "fashion_mnist")[2] == ""


def test_verify_without_a_name_verifies_every_model(store: ModelStore, publish: Publish, run: Run) -> None:
    publish(), publish()
    other = ModelStore(store.root, "cifar10")
    publish(other, name="cifar10")
    assert run("verify")[:2] == (0, "cifar10: Undamaged: version 1.\nfashion_mnist: Undamaged: versions 1, 2.\n")
    (other.path(1) / "saved_model.pb").write_bytes(b"")
    (store.path(2) / CARD_PATH).write_text("{")
    code, out, _ = run("verify")
    assert code == 1
    assert "cifar10: version 1: saved_model.pb has changed\n" in out
    assert "fashion_mnist: version 2: The model card" in out
    (other.path(1) / CARD_PATH).unlink()  # and no version is left that could be served
    assert "cifar10: version 1: There is no model card" in run("verify")[1]


def test_no_models_at_all_says_where_it_looked(tmp_path: Path, run: Run) -> None:
    code, _, err = run("list", models=tmp_path / "nowhere")
    assert code == 2
    assert err.startswith(f"error: There are no models in {tmp_path / 'nowhere'}.")


def test_the_command_runs_on_its_own_in_a_plain_terminal(store: ModelStore, publish: Publish, tmp_path: Path) -> None:
    publish(metrics={"history": {"loss": [2.0, 1.0]}})
    environment: dict[str, Any] = os.environ | {"ARTIFACTS": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "registry", "--name", "fashion_mnist", "explain", "1", "--all"],
        cwd=Path(__file__).parent.parent.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "loss  ??  2 to 1" in done.stdout


def test_a_reader_that_has_seen_enough_is_no_mistake(store: ModelStore, publish: Publish) -> None:
    publish()
    command = [sys.executable, "-m", "registry", "show", "1", "--models", str(store.root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
