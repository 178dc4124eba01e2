"""The report: one page that needs nothing but itself, and a command that trains the same again."""

import csv
import html
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.config import TrainConfig
from trainer.options import configs, parser
from trainer.recipes import RECIPES
from tuning import report
from tuning.finalists import finalists
from tuning.space import Search, SearchError
from tuning.trials import Record

pytestmark = pytest.mark.tensorflow

SEARCH = Search(RECIPES["default"], trials=10)
SCORES = [0.85, 0.9, None, 0.88, 0.91, 0.1, 0.89, 0.91, 0.87, 0.86]


def trials_of(scores: list[float | None]) -> list[Record]:
    records = []
    for number, score in enumerate(scores):
        # Trials 4 and 7 are the same settings.
        values = {"learning_rate": 10 ** -(1 + number % 3), "optimizer": "adamw", "model": "deep" if score else "basic"}
        if score is None:
            outcome = {"history": [], "status": "FAILED", "message": "the loss is <no> number"}
        else:
            outcome = {"history": [0.1, score], "stopped": number == 5}
        records.append(Record(number, values, begun=60.0 * number, ended=60.0 * number + 2, **outcome))
    return records


def retrained(trial: int, validation: float = 0.9, test: float = 0.9) -> dict[str, object]:
    return {"trial": trial, "seed": 0, "run": f"run-of-{trial}", "validation": validation, "test": test}


def test_finalists_are_the_best_trials_with_different_settings() -> None:
    assert [record.number for record in finalists(SEARCH, trials_of(SCORES), 3, seeds=1).values()] == [4, 6, 8]
    epochs = RECIPES["default"].epochs
    trained = finalists(SEARCH, trials_of(SCORES), 2, seeds=2)
    assert [(record.number, config.seed, config.epochs) for config, record in trained.items()] == [
        *((4, 0, epochs), (4, 1, epochs)),
        *((6, 0, epochs), (6, 1, epochs)),
    ]


def test_a_search_in_which_all_failed_says_why() -> None:
    with pytest.raises(SearchError, match="of 2 none did: the loss is <no> number"):
        finalists(SEARCH, trials_of([None, None]), 2, 1)


@pytest.mark.parametrize("pushed", [3, 0])
def test_the_page_shows_search_and_retraining_side_by_side_and_loads_nothing(pushed: int, tmp_path: Path) -> None:
    trials = trials_of(SCORES)
    runs = [retrained(4, validation=0.9312, test=0.9287), retrained(6, validation=0.93, test=0.92)]
    page = report.write(SEARCH, trials, {"version": pushed, "runs": runs}, tmp_path).read_text()
    for expected in ("0.9100", "0.9312", "0.9287", "pushed as version 3" if pushed else "refused by the gate"):
        assert expected in page
    assert "1 stopped early, 1 failed" in page
    assert "the loss is &lt;no&gt; number" in page
    assert page.count("data:image/png;base64,") == 4
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


def test_the_page_keeps_options_whole_and_legends_beside_the_plots(
    tmp_path: Path, legends_on_plots: list[bool]
) -> None:
    page = report.write(SEARCH, trials_of(SCORES), {"version": 3, "runs": [retrained(4)]}, tmp_path).read_text()
    assert legends_on_plots == [False, False]
    (command,) = re.findall("<pre>(.*)</pre>", page)
    assert html.unescape(re.sub("</?span>", "", command)).startswith('make train ARGS="--recipe paper --model deep ')
    assert "<span>--optimizer adamw</span> <span>--learning-rate 0.01</span>" in command
    assert "pre span { white-space: pre; }" in page
    assert "@media (prefers-color-scheme: dark)" in page


@pytest.mark.parametrize("scores", [[0.8], [0.8, 0.9]])
def test_few_trials_make_a_page_without_importance(scores: list[float], tmp_path: Path) -> None:
    page = report.write(SEARCH, trials_of(scores), {"version": 1, "runs": [retrained(0)]}, tmp_path).read_text()
    assert "Too few trials to tell" in page


def test_the_table_has_a_line_a_trial(tmp_path: Path) -> None:
    report.write_table(SEARCH, trials_of(SCORES), tmp_path)
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["score"] for row in rows] == [str(score or "") for score in SCORES]
    assert rows[0] | {"learning_rate": "0.1", "optimizer": "adamw", "model": "deep"} == rows[0]


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(),
        replace(RECIPES["default"], model="deep", seed=3, deterministic=True, shift=2, shuffle=False),
        TrainConfig(model="deep", optimizer="rmsprop", learning_rate=0.00562, dropout=0.15, dataset="folder:a b"),
    ],
)
def test_the_command_trains_the_very_config(config: TrainConfig) -> None:
    arguments = shlex.split(" ".join(report.options(config)))
    given = configs(parser().parse_args(arguments), Path("runs"))
    assert given == [config]


def test_a_search_in_which_no_trial_ended_says_what_to_do() -> None:
    with pytest.raises(SearchError, match=r"^No trial ended; run the same command again or raise --time-limit\.$"):
        finalists(SEARCH, [], 2, 1)
