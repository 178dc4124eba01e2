"""The report compares with the published numbers, draws each model in its colour, and omits what was not run."""

from pathlib import Path

import pytest

from study import figures, report, tables
from tests.study.conftest import MakeResult


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


def test_what_was_not_run_is_left_out(tmp_path: Path, result: MakeResult) -> None:
    text = report.render("RESULTS.md.j2", report.sections({"deep-sgd-0.1": [result("deep-sgd-0.1")]}, tmp_path))
    assert "## Published and measured" in text
    assert "Outlook" not in text
    assert "claims" not in text


def test_markup_in_a_text_stays_text(tmp_path: Path, result: MakeResult) -> None:
    run = result("deep-sgd-0.1", environment={"machine": "<b>", "versions": "v", "commit": "c"})
    assert "&lt;b&gt;" in report.render("report.html.j2", report.sections({"deep-sgd-0.1": [run]}, tmp_path))
