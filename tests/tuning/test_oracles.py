"""The oracles: a search that was killed anywhere goes on as the one that was not."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
from keras_tuner.engine.trial import Trial

from tests.tuning.disk import full_at
from trainer.config import TrainConfig
from trainer.recipes import RECIPES
from tuning.oracles import MAX_WORKER_DEATHS, ORACLES, SavedOracle
from tuning.space import Search, SearchError
from tuning.trials import SCORE

pytestmark = pytest.mark.tensorflow


def search_by(algorithm: str, **settings: object) -> Search:
    # Bayesian proposals take seconds: one after the nine that are left to chance is enough to see that they survive.
    sizes = {"hyperband": {"epochs": 9, "trials": 30}, "bayesian": {"trials": 10}}.get(algorithm, {"trials": 12})
    return Search(RECIPES["default"], algorithm=algorithm, **{**sizes, **settings})


def accuracy(config: TrainConfig, epoch: int) -> float:
    """A made-up learning curve that depends on everything that is searched."""
    distance = abs(config.learning_rate - 0.01) ** 0.25 + 0.01 * len(config.optimizer) + 0.001 * len(config.model)
    return round(0.9 - 0.1 * distance - 0.2 / (epoch + 1), 6)


def step(oracle: SavedOracle, search: Search, worker: str = "tuner0") -> Trial:
    """A trial from its beginning to its end."""
    trial = oracle.create_trial(worker)
    if trial.status == "RUNNING":
        values = trial.hyperparameters.values
        config = search.config(values, int(trial.trial_id))
        for epoch in range(values.get("tuner/epochs", search.epochs)):
            if oracle.update_trial(trial.trial_id, {SCORE: accuracy(config, epoch)}, epoch).status == "STOPPED":
                break
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return trial


def found(oracle: SavedOracle) -> list[tuple[object, ...]]:
    return [(each.number, each.values, each.history, each.score, each.stopped) for each in oracle.finished]


def build_oracle(search: Search, path: Path, timeout: float = float("inf")) -> SavedOracle:
    return ORACLES[search.algorithm](search, path, timeout)


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("random", {}),
        ("grid", {}),
        ("hyperband", {}),
        ("bayesian", {"space": "full", "trials": 30}),  # all of them random, before the Gaussian process
        pytest.param("bayesian", {}, marks=pytest.mark.slow),
    ],
)
def test_a_search_killed_after_every_trial_finds_what_an_unbroken_one_finds(
    algorithm: str, settings: dict[str, object], tmp_path: Path
) -> None:
    search = search_by(algorithm, **settings)
    unbroken = build_oracle(search, tmp_path / "unbroken.json")
    while step(unbroken, search).status != "STOPPED":
        pass
    assert len(unbroken.finished) == search.trials
    for _ in range(100):
        oracle = build_oracle(search, tmp_path / "broken.json")
        if step(oracle, search).status == "STOPPED":
            break
        oracle.create_trial("tuner0")  # this one is running when all is killed
    assert found(oracle) == found(unbroken)


@pytest.mark.parametrize("algorithm", ["random", "grid", "hyperband"])
def test_a_search_killed_after_any_write_repeats_no_finished_trial_and_finds_the_same(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, states = search_by(algorithm, trials=5), []
    monkeypatch.setattr("tuning.oracles.write_whole", lambda _, text: states.append(text))
    unbroken = build_oracle(search, tmp_path / "unbroken.json")
    while step(unbroken, search).status != "STOPPED":
        pass
    assert len(states) > 10
    for state in tuple(states):
        (tmp_path / "oracle.json").write_text(state)
        oracle = build_oracle(search, tmp_path / "oracle.json")
        before = found(oracle)
        while step(oracle, search).status != "STOPPED":
            pass
        assert found(oracle)[: len(before)] == before
        assert found(oracle) == found(unbroken)


def test_a_grid_has_every_point_of_the_space_once(tmp_path: Path) -> None:
    base = replace(RECIPES["default"], model="deep", schedule="constant", batch_size=32, dropout=0.0, mirror=False)
    fixed = ("learning_rate", "model", "schedule", "batch_size", "dropout", "mirror", "label_smoothing", "shift")
    search = Search(base, fixed=fixed, space="full", algorithm="grid")  # optimizer, weight decay of adamw, erase
    oracle = build_oracle(search, tmp_path / "oracle.json")
    while step(oracle, search).status != "STOPPED":
        pass
    configs = {replace(search.config(each.values, 0), seed=0) for each in oracle.finished}
    assert len(configs) == len(oracle.finished) == (4 + 7) * 3


def test_the_same_seed_proposes_the_same_and_another_seed_something_else(tmp_path: Path) -> None:
    proposed = []
    for index, seed in enumerate((0, 0, 1)):
        oracle = build_oracle(search_by("random", seed=seed), tmp_path / str(index))
        proposed.append([step(oracle, search_by("random", seed=seed)).hyperparameters.values for _ in range(5)])
    assert proposed[0] == proposed[1] != proposed[2]


def test_a_trial_that_was_running_is_given_again_and_to_the_same_name(tmp_path: Path) -> None:
    search, path = search_by("random"), tmp_path / "oracle.json"
    oracle = build_oracle(search, path)
    first, second = oracle.create_trial("tuner0"), oracle.create_trial("tuner1")
    oracle = build_oracle(search, path)
    assert oracle.create_trial("tuner1").trial_id == second.trial_id
    assert oracle.create_trial("tuner0").hyperparameters.values == first.hyperparameters.values


def test_a_worker_may_end_its_trial_with_a_chief_that_restarted_meanwhile(tmp_path: Path) -> None:
    search, path = search_by("random"), tmp_path / "oracle.json"
    trial = copy.copy(ORACLES["random"](search, path, key="11111111").create_trial("tuner0"))
    for epoch in range(search.epochs):
        oracle = ORACLES["random"](search, path, key="11111111")
        oracle.update_trial(trial.trial_id, {SCORE: 0.1 * epoch}, epoch)
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert oracle.finished[0].history == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert oracle.create_trial("tuner0").trial_id.startswith("01-11111111.")


def test_trials_of_workers_that_are_gone_go_to_others_first(tmp_path: Path) -> None:
    search, path = search_by("random"), tmp_path / "oracle.json"
    oracle = build_oracle(search, path)
    begun = [oracle.create_trial(f"tuner{index}").trial_id for index in range(3)]
    oracle = build_oracle(search, path)
    oracle.release()
    assert {step(oracle, search).trial_id for _ in range(3)} == set(begun)
    assert step(oracle, search).trial_id not in begun


def test_a_trial_that_is_clearly_losing_is_stopped_and_still_counts(tmp_path: Path) -> None:
    search = search_by("random")
    oracle = build_oracle(search, tmp_path / "oracle.json")
    for level in (0.9, 0.9, 0.8, 0.8, 0.86, 0.84):
        trial = oracle.create_trial("tuner0")
        answers: list[str] = []
        while len(answers) < search.epochs and "STOPPED" not in answers:
            answers.append(oracle.update_trial(trial.trial_id, {SCORE: level}, len(answers)).status)
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    # The median of the first five is 0.86; fewer than four others are no reason to stop.
    assert [record.stopped for record in oracle.finished] == [False, False, False, False, False, True]
    assert answers == ["RUNNING", "STOPPED"]
    assert oracle.finished[-1].score == pytest.approx(0.84)


def test_a_trial_that_was_better_before_its_last_epoch_is_not_stopped(tmp_path: Path) -> None:
    search = search_by("random")
    oracle = build_oracle(search, tmp_path / "oracle.json")
    for _ in range(4):
        assert step(oracle, search).status == "COMPLETED"
    trial = oracle.create_trial("tuner0")
    answers = [oracle.update_trial(trial.trial_id, {SCORE: value}, epoch).status for epoch, value in enumerate((1, 0))]
    assert answers == ["RUNNING", "RUNNING"]


def test_failed_trials_do_not_stop_the_search(tmp_path: Path) -> None:
    search = search_by("random", trials=6)
    oracle = build_oracle(search, tmp_path / "oracle.json")
    for _ in range(6):
        trial = oracle.create_trial("tuner0")
        trial.status = "FAILED"
        oracle.end_trial(trial)
    assert oracle.create_trial("tuner0").status == "STOPPED"
    assert [(each.status, each.score) for each in oracle.finished] == [("FAILED", None)] * 6


def test_a_trial_that_kills_its_worker_again_and_again_fails(tmp_path: Path) -> None:
    search = search_by("random")
    oracle = build_oracle(search, tmp_path / "oracle.json")
    for _ in range(MAX_WORKER_DEATHS):
        assert oracle.create_trial("tuner0").trial_id == "00"
        assert oracle.worker_died("tuner0", "signal 9")
    assert oracle.create_trial("tuner0").trial_id == "01"
    assert oracle.finished[0].message == f"its worker died {MAX_WORKER_DEATHS} times: signal 9"


def test_deaths_between_epochs_do_not_add_up(tmp_path: Path) -> None:
    oracle = build_oracle(search_by("random"), tmp_path / "oracle.json")
    for epoch in range(2 * MAX_WORKER_DEATHS):
        trial = oracle.create_trial("tuner0")
        oracle.update_trial(trial.trial_id, {SCORE: 0.5}, epoch)
        oracle.worker_died("tuner0", "signal 9")
    assert oracle.create_trial("tuner0").trial_id == "00"


def test_a_worker_that_dies_before_it_asks_for_a_trial_is_given_up(tmp_path: Path) -> None:
    oracle = build_oracle(search_by("random"), tmp_path / "oracle.json")
    goes_on = [oracle.worker_died("tuner0", "signal 9") for _ in range(MAX_WORKER_DEATHS)]
    assert goes_on == [True] * (MAX_WORKER_DEATHS - 1) + [False]


def test_the_trial_of_a_silent_worker_goes_to_another_and_its_late_report_is_ignored(tmp_path: Path) -> None:
    search = search_by("random", trials=1)
    oracle = build_oracle(search, tmp_path / "oracle.json", timeout=0)
    lost = copy.copy(oracle.create_trial("tuner0"))  # over the network, workers have copies
    assert step(oracle, search, "tuner1").trial_id == lost.trial_id
    lost.status = "FAILED"
    oracle.end_trial(lost)
    assert [each.status for each in oracle.finished] == ["COMPLETED"]


def test_a_trial_that_its_worker_refuses_goes_to_the_next_one(tmp_path: Path) -> None:
    search, path = search_by("random", trials=1), tmp_path / "oracle.json"
    refused = copy.copy(build_oracle(search, path, timeout=1800).create_trial("tuner0"))
    oracle = build_oracle(search, path, timeout=1800)
    refused.status = "IDLE"
    oracle.end_trial(refused)
    assert oracle.finished == []
    oracle = build_oracle(search, path, timeout=1800)
    assert step(oracle, search, "tuner1").trial_id == refused.trial_id
    assert [each.status for each in oracle.finished] == ["COMPLETED"]


def test_workers_wait_while_others_train_the_last_trials(tmp_path: Path) -> None:
    search = search_by("random", trials=1)
    oracle = build_oracle(search, tmp_path / "oracle.json")
    trial = oracle.create_trial("tuner0")
    assert oracle.create_trial("tuner1").status == "IDLE"
    trial.status = "FAILED"
    oracle.end_trial(trial)
    assert oracle.create_trial("tuner1").status == "STOPPED"


def test_after_the_time_is_up_a_running_trial_ends_and_stays_unfinished(tmp_path: Path) -> None:
    search = search_by("random")
    oracle = build_oracle(search, tmp_path / "oracle.json")
    trial = oracle.create_trial("tuner0")
    oracle.closed = True
    assert oracle.update_trial(trial.trial_id, {SCORE: 0.9}, 0).status == "STOPPED"
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert oracle.create_trial("tuner0").status == "STOPPED"
    assert not oracle.tuner_ids
    assert build_oracle(search, tmp_path / "oracle.json").create_trial("tuner0").trial_id == trial.trial_id


def test_more_trials_go_on_with_a_finished_search(tmp_path: Path) -> None:
    for trials in (3, 12):
        search = search_by("random", trials=trials)
        oracle = build_oracle(search, tmp_path / "oracle.json")
        while step(oracle, search).status != "STOPPED":
            pass
        assert len(oracle.finished) == trials


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"trials": [{}]}'])
def test_a_damaged_state_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "oracle.json"
    path.write_text(content)
    with pytest.raises(SearchError, match=r"oracle\.json: expected the state of a search .* --fresh starts over"):
        build_oracle(search_by("random"), path)


def test_a_full_disk_is_reported_and_nothing_more_is_handed_out(tmp_path: Path) -> None:
    search, path = search_by("random"), tmp_path / "oracle.json"
    oracle = build_oracle(search, path)
    step(oracle, search)
    before = path.read_bytes()
    with full_at(len(before) + 20):
        oracle.create_trial("tuner0")
    assert oracle.failure.filename == str(path)
    assert oracle.create_trial("tuner1").status == "IDLE"
    assert path.read_bytes() == before
    assert len(build_oracle(search, path).finished) == 1


def test_hyperband_carries_the_better_trials_on_from_where_they_were(tmp_path: Path) -> None:
    search = search_by("hyperband")
    oracle = build_oracle(search, tmp_path / "oracle.json")
    while step(oracle, search).status != "STOPPED":
        pass
    promoted = [each for each in oracle.finished if "tuner/trial_id" in each.values]
    assert promoted
    for each in promoted:
        (past,) = (past for past in oracle.finished if past.number == int(each.values["tuner/trial_id"]))
        assert search.config(each.values, each.number) == search.config(past.values, past.number)
        assert each.history[: len(past.history)] == past.history


@pytest.mark.parametrize("key", ["11111111", "22222222"])  # the second: as after --fresh
def test_a_report_on_a_trial_of_another_search_is_refused_and_changes_nothing(key: str, tmp_path: Path) -> None:
    search = search_by("random")
    stale = ORACLES["random"](search, tmp_path / "old.json", key=key).create_trial("tuner0")
    oracle = ORACLES["random"](search, tmp_path / "oracle.json", key="22222222")
    assert oracle.update_trial(stale.trial_id, {SCORE: 0.9}, 0).status == "INVALID"  # before there is such a trial
    own = oracle.create_trial("tuner1")
    assert oracle.update_trial(stale.trial_id, {SCORE: 0.9}, 0).status == "INVALID"
    stale.status = "FAILED"
    oracle.end_trial(stale)
    assert oracle.finished == []
    assert oracle.update_trial(own.trial_id, {SCORE: 0.5}, 0).status == "RUNNING"
    own.status = "COMPLETED"
    oracle.end_trial(own)
    assert [each.history for each in oracle.finished] == [[0.5]]


def test_late_epochs_of_a_lost_trial_do_not_change_what_another_worker_found(tmp_path: Path) -> None:
    search = search_by("random", trials=1)
    oracle = build_oracle(search, tmp_path / "oracle.json", timeout=0)
    lost = oracle.create_trial("tuner0")
    step(oracle, search, "tuner1")
    before = found(oracle)
    assert oracle.update_trial(lost.trial_id, {SCORE: 0.123}, 0).status == "COMPLETED"
    assert found(oracle) == before
