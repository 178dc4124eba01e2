"""The trainer's command line: python -m trainer [options], push RUN or import PATH. It parses, and calls a pipeline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer import advice
from trainer.adaptation import Counts
from trainer.backend import import_tensorflow
from trainer.imported import options as import_options
from trainer.options import REFUSED, configs, exit_code, fail, push_parser, recipe_of, run_options, training_parser
from trainer.prepare import check_model, prepare, prepare_push

if TYPE_CHECKING:
    from registry.store import ModelStore
    from trainer.release.finished import Run

INTERRUPTION = "Interrupted. Nothing was pushed. Finished epochs are kept: run the same command again to resume."


def main() -> int:
    """Runs the command that the arguments ask for; returns its exit code."""
    given = sys.argv[1:]
    if given[:1] == ["import"]:
        imported = import_options.parsed(given[1:])
        return exit_code(lambda: _import(imported), "Interrupted. Nothing was pushed.")
    if given[:1] == ["push"]:
        pushed = push_parser().parse_args(given[1:])
        return exit_code(lambda: _push(pushed), "Interrupted. Nothing was pushed.")
    trained = training_parser().parse_args(given)
    return exit_code(lambda: _train(trained), INTERRUPTION)


def _train(arguments: argparse.Namespace) -> int:
    options = run_options(arguments)
    runs = options.artifacts / "runs"
    config, *_ = configs(arguments, runs)
    check_model(config.model)
    prepared = prepare(config, options)
    counts = Counts.of(prepared.dataset)
    chosen = configs(arguments, runs, counts)
    recipe = recipe_of(chosen[0], arguments, runs)
    if arguments.advise:
        print(advice.before(prepared.dataset, recipe, chosen, prepared.thresholds))
        return 0
    if adapted := advice.adaptation(recipe, chosen[0], counts):
        print(adapted, flush=True)
    import_tensorflow()
    from trainer import devices, pipeline

    computing = devices.start()
    if options.resume and computing.processes > 1:
        raise ValueError("`--resume` is for a run of one process; a run of several starts over.")
    if not computing.is_leader:
        pipeline.take_part(chosen, prepared.dataset, computing)
        return 0
    return _reported(lambda: pipeline.run(chosen, prepared, options, computing))


def _push(arguments: argparse.Namespace) -> int:
    options = run_options(arguments)
    directory = options.artifacts / "runs" / arguments.run
    config, prepared = prepare_push(directory, options)
    import_tensorflow()
    from trainer import pipeline

    return _reported(lambda: pipeline.push_finished(directory, config, prepared, options.reason))


def _import(arguments: argparse.Namespace) -> int:
    options = import_options.import_options(arguments)
    import_tensorflow()
    from trainer.imported import pipeline, report

    imported = pipeline.run(options)
    print(report.summary(imported))
    return fail(report.REFUSAL, REFUSED) if imported.version is None else 0


def _reported(finish: Callable[[], tuple[list[Run], int, ModelStore]]) -> int:
    from trainer import report
    from trainer.pipeline import RefusedError

    try:
        print(report.summary(*finish()))
    except RefusedError as refused:
        print(report.refusal(refused))
        return fail(report.REFUSAL, REFUSED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
