"""The command line of a search: python -m tuning [options]. It parses, and calls the search or a worker.

    python -m tuning                                searches here, with workers of its own

The same command becomes a part of a search over several machines by keras-tuner's environment variables:

    KERASTUNER_TUNER_ID=chief                       hands out trials, retrains and pushes; trains no trial itself
    KERASTUNER_TUNER_ID=tuner0 (tuner1, ...)        a worker; one that reconnects under its id gets its trial back
    KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT    where the chief listens, and workers find it
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields, replace
from pathlib import Path

from registry.names import normalized
from trainer import advice
from trainer.adaptation import Counts
from trainer.backend import import_tensorflow
from trainer.config import PAPER_MODELS, SMALLEST_SIDE, TrainConfig
from trainer.data.load import model_name
from trainer.options import configs, exit_code, recipe_of, run_options
from trainer.options import parser as training_parser
from trainer.prepare import check_model, loaded, prepare
from tuning.options import SearchOptions
from tuning.space import EPOCHS, SPACES, Search
from tuning.workers import end_with_the_search


def parser() -> argparse.ArgumentParser:
    """The trainer's options, which fix what is not searched, and those of the search."""
    options = training_parser()
    options.prog = "python -m tuning"
    options.description = (
        "Search for the best settings with keras-tuner, train the best trials in full, and push the best model if the "
        "gate accepts it. A setting that you give is fixed, those of --space are searched, and all others have the "
        "recipe's values."
    )
    options.epilog = (
        "Several machines: the same command with KERASTUNER_TUNER_ID=chief on one, tuner0, tuner1, ... on the others, "
        "and KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT of the chief on all."
    )
    options.conflict_handler = "resolve"  # --epochs means another thing here
    add = options.add_argument_group("search").add_argument
    add(
        "--space",
        default="default",
        help="default: learning rate, optimizer, model; full: also schedule, batch size, regularisation, augmentation",
    )
    add("--algorithm", default="bayesian", help="random, bayesian, hyperband or grid (bayesian)")
    add("--trials", type=int, help="number of trials; if left out, 24, or the whole grid")
    add("--epochs", type=int, help=f"epochs of a trial ({EPOCHS}; more for a small data set)")
    add("--final-epochs", type=int, help="epochs of a full training; if left out, the recipe's")
    add("--finalists", type=int, default=2, help="number of the best trials that are trained in full (2)")
    add("--final-seeds", type=int, default=2, help="number of seeds for each finalist (2)")
    add("--fresh", action="store_true", help="delete an earlier search of this name and start over")
    add("--resume", help=argparse.SUPPRESS)  # is for runs of the trainer
    add("--workers", type=int, default=1, help="worker processes on this machine, which share its cores (1)")
    add(
        "--time-limit", type=float, metavar="MINUTES", help="stop the search after this time; the full trainings follow"
    )
    add("--name", help="the search's directory under ARTIFACTS/tuning; if left out, the model's name")
    return options


def search_of(arguments: argparse.Namespace, counts: Counts | None = None) -> Search:
    """The search that the options describe, its base adapted to a data set of such counts.

    Raises:
        ValueError: an unknown name or a value out of range.
    """
    if arguments.resume is not None:
        raise ValueError("`resume` is for a run of the trainer; to continue a search, run the same command again.")
    plain = argparse.Namespace(**{**vars(arguments), "epochs": None})
    recipe, base = (configs(plain, Path("runs"), each)[0] for each in (None, counts))
    searched = {name for space in SPACES.values() for name in space}
    given = {field.name for field in fields(TrainConfig) if getattr(arguments, field.name) is not None}
    if counts and any(counts.side < SMALLEST_SIDE[name] for name in PAPER_MODELS):
        given.add("model")  # the base's; another may not take such small images
    fixed = tuple(field.name for field in fields(TrainConfig) if field.name in searched & given)
    # Trials have the same share of a full training whatever the size of the set.
    epochs = round(EPOCHS * base.epochs / recipe.epochs)
    final_patience = None
    if arguments.final_epochs is not None:
        # Without the patience that suits a small set: who gives a number of epochs wants them all.
        base, final_patience = replace(base, epochs=arguments.final_epochs), recipe.patience
    return Search(
        base=base,
        fixed=fixed,
        space=arguments.space,
        algorithm=arguments.algorithm,
        trials=arguments.trials,
        epochs=epochs if arguments.epochs is None else arguments.epochs,
        seed=base.seed,
        final_patience=final_patience,
    )


def adaptation(arguments: argparse.Namespace, counts: Counts) -> str:
    """What the full trainings of this search have that their recipe has not, because of the data set's size."""
    full = argparse.Namespace(**{**vars(arguments), "epochs": arguments.final_epochs})
    config = configs(full, Path("runs"), counts)[0]
    return advice.adaptation(recipe_of(config, full, Path("runs")), config, counts)


def options_of(arguments: argparse.Namespace, search: Search) -> SearchOptions:
    """How `search` is to be run.

    Raises:
        ValueError: a value out of range.
    """
    given = run_options(arguments)
    model = model_name(search.base.dataset, given.name)
    options = SearchOptions(
        runs=replace(given, name=model, fresh=False),
        name=normalized(arguments.name or model),
        **{name: getattr(arguments, name) for name in ("workers", "finalists", "final_seeds", "time_limit", "fresh")},
    )
    replace(search.base, seed=search.seed + options.final_seeds - 1)  # refuses one too large for the last finalist
    return options


def main() -> int:
    arguments = parser().parse_args()
    end_with_the_search()
    return exit_code(
        lambda: _run(arguments), "Interrupted. Finished trials are kept; the same command continues the search."
    )


def _run(arguments: argparse.Namespace) -> int:
    search, part = search_of(arguments), role()
    options = options_of(arguments, search)
    check_model(search.base.model)
    # A worker's models are not pushed, so that nothing is checked of the version that is served.
    dataset = loaded(search.base, options.runs) if part == "worker" else prepare(search.base, options.runs).dataset
    counts = Counts.of(dataset)
    search = search_of(arguments, counts)
    if part != "worker" and (adapted := adaptation(arguments, counts)):
        print(adapted, flush=True)
    import_tensorflow()
    from tuning import pipeline

    if part == "worker":
        pipeline.work(search, options, dataset)
        return 0
    data = dataset.sha256
    del dataset  # it is loaded again for the full trainings, and a search may take days
    return pipeline.run(search, options, data, alone=part == "alone")


def role() -> str:
    """What keras-tuner's variables make of this process: `chief`, `worker`, or `alone`.

    Raises:
        ValueError: some of the three variables are missing.
    """
    names = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
    missing = [name for name in names if not os.environ.get(name)]
    if len(missing) == len(names):
        return "alone"
    if missing:
        raise ValueError(f"{', '.join(names)} go together. Missing: {', '.join(missing)}.")
    return "chief" if "chief" in os.environ[names[0]] else "worker"


if __name__ == "__main__":
    sys.exit(main())
