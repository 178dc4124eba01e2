"""The trainer's command line: python -m trainer [options], or push RUN. It parses, and calls the pipeline."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from registry.store import ModelStore, RegistryError
from trainer.backend import import_tensorflow
from trainer.data.dataset import DataError
from trainer.options import INTERRUPTED, REFUSED, configs, fail, parser, push_parser, run_options
from trainer.prepare import prepare, prepare_push

if TYPE_CHECKING:
    from trainer.release.finished import Run

INTERRUPTION = "Interrupted. Nothing was pushed. Finished epochs are kept: run the same command again to resume."


def main() -> int:
    given = sys.argv[1:]
    try:
        if given[:1] == ["push"]:
            return _push(push_parser().parse_args(given[1:]))
        return _train(parser().parse_args(given))
    except (ValueError, DataError, RegistryError) as error:
        return fail(str(error), 2)
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}." if error.filename else str(error), 2)
    except KeyboardInterrupt as interrupt:
        print()  # the progress bar stands in the middle of its line
        return fail(str(interrupt) or INTERRUPTION, INTERRUPTED)


def _train(arguments: argparse.Namespace) -> int:
    options = run_options(arguments)
    chosen = configs(arguments, options.artifacts / "runs")
    prepared = prepare(chosen[0], options)
    import_tensorflow()
    from trainer import devices, pipeline

    computing = devices.start()
    if not computing.is_leader:
        pipeline.take_part(chosen, prepared.dataset, computing)
        return 0
    if options.resume and computing.processes > 1:
        raise ValueError("`--resume` is for a run of one process; a run of several starts over.")
    return _reported(lambda: pipeline.run(chosen, prepared, options, computing))


def _push(arguments: argparse.Namespace) -> int:
    options = run_options(arguments)
    directory = options.artifacts / "runs" / arguments.run
    config, prepared = prepare_push(directory, options)
    import_tensorflow()
    from trainer import pipeline

    return _reported(lambda: pipeline.push_finished(directory, config, prepared, options.reason))


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
