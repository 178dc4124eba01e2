"""The report compares with the published numbers, draws each model in its colour, and omits what was not run."""

from pathlib import Path

import pytest

from study import figures, report, tables
from tests.study.conftest import LABELS, MakeResult


def test_a_published_accuracy_outside_the_interval_is_explained(result: MakeResult) -> None:
    runs = {
        "basic-sgd-0.01": [result("basic-sgd-0.01", seed, accuracy=0.88 + seed / 1000) for seed in range(3)],
        "basic-sgd-0.01-in-order": [result("basic-sgd-0.01-in-order", accuracy=0.872)],
    }
    (row,) = tables.accuracies(runs).rows
    assert row[:2] == ["basic-sgd-0.01", "0.8711"]
    assert row[4] == "no"
    (sentence,) = tables.distances(runs)
    assert sentence.startswith("basic-sgd-0.01: +0.0099 from the published 0.8711")
    assert sentence.endswith("not shuffled +0.0009: not shuffled comes closer.")


def test_the_specialist_is_used_only_where_the_first_model_predicts_the_pair(result: MakeResult) -> None:
    # The generalist takes two shirts for T-shirts; the specialist knows those, and calls every trouser a shirt.
    specialist = result("shirt-specialist", predicted=(0, 0, 0, 2, 2, 2, 2, 2, 2, 2))
    before, after = tables.shirt({"basic-adam": [result("basic-adam")], "shirt-specialist": [specialist]}).rows
    assert before[1:5] == ["2", "2", "3", "0"]
    assert after[1:5] == ["4", "0", "3", "0"]
    assert after[5:] == ["1.0000", "+2", "0.250"]  # two wins in two disagreements: a quarter


@pytest.mark.parametrize(("name", "dashes"), [("deep-sgd-0.1", False), ("deep-sgd-0.01", True)])
def test_a_model_has_its_colour_and_a_rate_its_line(
    tmp_path: Path, result: MakeResult, name: str, dashes: bool
) -> None:
    figures.validation({name: [result(name)]}, [name], "accuracy", tmp_path / "figure.svg")
    svg = (tmp_path / "figure.svg").read_text().lower()
    curve = next(line for line in svg.splitlines() if "stroke: #d55e00" in line)
    assert "#0072b2" not in svg
    assert ("stroke-dasharray" in curve) == dashes


ROBUSTNESS = {"mirror": {"1": 0.6}, **{name: {"0.5": 0.8, "0.25": 0.6} for name in figures.DRAWN}}


def test_robustness_has_a_column_for_each_experiment_and_its_mean(result: MakeResult) -> None:
    weaker = {name: dict.fromkeys(strengths, 0.5) for name, strengths in ROBUSTNESS.items()}
    runs = {
        "deep-default": [result("deep-default", robustness=ROBUSTNESS, accuracy=0.9)],
        "basic-adam": [result("basic-adam", robustness=weaker)],
    }
    table = tables.robustness(runs)
    assert table.header == ["corruption", "strength", "basic-adam", "deep-default"]
    assert table.rows[0] == ["none", "", "0.8000", "0.9000"]
    assert ["contrast", "0.25", "0.5000", "0.6000"] in table.rows
    assert table.rows[-1] == ["mean", "", "0.5000", "0.6833"]  # five corruptions of 0.7, mirroring of 0.6


def test_the_figures_of_robustness_have_each_model_in_its_colour(tmp_path: Path, result: MakeResult) -> None:
    runs = {name: [result(name, robustness=ROBUSTNESS)] for name in ("basic-adam", "deep-robust", "residual")}
    figures.robustness(runs, "contrast", tmp_path / "figure.svg")
    svg = (tmp_path / "figure.svg").read_text().lower()
    assert all(f"stroke: {colour}" in svg for colour in ("#0072b2", "#d55e00", "#009e73"))


def test_the_residual_network_is_compared_with_both_cnns_on_each_set(result: MakeResult) -> None:
    wrong = [0] * len(LABELS)
    runs = {
        "basic-default": [result("basic-default", predicted=wrong)],
        "deep-default": [result("deep-default", predicted=LABELS)],
        "residual": [result("residual", predicted=LABELS)],
        "photographs-deep": [result("photographs-deep")],
    }
    rows = tables.harder(runs).rows
    assert [row[:2] for row in rows] == [
        ["Fashion-MNIST", "basic-default"],
        ["Fashion-MNIST", "deep-default"],
        ["Fashion-MNIST", "residual"],
        ["on photographs", "photographs-deep"],
    ]
    assert [row[3][:7] for row in rows] == ["+0.7000", "+0.0000", "", ""]


def test_no_legend_covers_a_curve(tmp_path: Path, result: MakeResult, legends_on_plots: list[bool]) -> None:
    runs = {name: [result(name, robustness=ROBUSTNESS)] for name in ("basic-adam", "deep-default")}
    page = report.render("report.html.j2", report.sections(runs, tmp_path))
    assert legends_on_plots == [False] * 7  # loss, accuracy and five corruptions
    assert "@media (prefers-color-scheme: dark)" in page


def test_what_was_not_run_is_left_out(tmp_path: Path, result: MakeResult) -> None:
    text = report.render("RESULTS.md.j2", report.sections({"deep-sgd-0.1": [result("deep-sgd-0.1")]}, tmp_path))
    assert "## Published and measured" in text
    assert "Outlook" not in text
    assert "claims" not in text


def test_markup_in_a_text_stays_text(tmp_path: Path, result: MakeResult) -> None:
    run = result("deep-sgd-0.1", environment={"machine": "<b>", "versions": "v", "commit": "c"})
    assert "&lt;b&gt;" in report.render("report.html.j2", report.sections({"deep-sgd-0.1": [run]}, tmp_path))


def test_a_run_that_diverged_is_named_and_its_curves_end_where_it_did(tmp_path: Path, result: MakeResult) -> None:
    reason = "The loss became NaN or infinite in epoch 3 of 25, at a learning rate of 0.5 (`--learning-rate` is 0.5)."
    whole = [result("basic-sgd-0.5", seed, validation=[0.7] * 25, loss=[0.4] * 25) for seed in (0, 1)]
    short = result("basic-sgd-0.5", 2, validation=(0.6, 0.8), loss=(0.6, 0.5), diverged=reason)
    text = report.render("RESULTS.md.j2", report.sections({"basic-sgd-0.5": [*whole, short]}, tmp_path))
    assert f"basic-sgd-0.5, seed 2, diverged: {reason}" in text
    assert (tmp_path / "basic-sgd-0.5-loss.svg").exists()


def test_a_curve_is_read_at_the_epochs_that_both_orders_reached(result: MakeResult) -> None:
    names = ("basic-sgd-0.01", "basic-sgd-0.01-in-order")
    runs = {name: [result(name, validation=[0.8] * 25)] for name in names}
    assert [row[1] for row in tables.readings(runs).rows] == ["5", "10", "24"]
    runs[names[1]] = [result(names[1], validation=[0.8] * 6)]
    assert [row[1] for row in tables.readings(runs).rows] == ["5"]
