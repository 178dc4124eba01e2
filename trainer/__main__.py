"""The trainer's command line: python -m trainer [options]. It parses, and calls the pipeline."""

from __future__ import annotations

import sys

from registry.store import RegistryError
from trainer.backend import import_tensorflow
from trainer.data.dataset import DataError
from trainer.options import INTERRUPTED, REFUSED, configs, fail, parser, run_options
from trainer.prepare import prepare

INTERRUPTION = "Interrupted. Nothing was pushed. Finished epochs are kept: the same command goes on from there."


def main() -> int:
    arguments = parser().parse_args()
    try:
        options = run_options(arguments)
        chosen = configs(arguments, options.artifacts / "runs")
        prepared = prepare(chosen[0], options)
        import_tensorflow()
        from trainer import devices, pipeline, report

        computing = devices.start()
        if not computing.leads:
            pipeline.take_part(chosen, prepared.dataset, computing)
            return 0
        if options.resume and computing.processes > 1:
            raise ValueError("`--resume` is for a run of one process; several begin anew.")
        try:
            finished = pipeline.run(chosen, prepared, options, computing)
            print(report.summary(*finished))
        except pipeline.RefusedError as refused:
            print(report.refusal(refused))
            return fail(report.REFUSAL, REFUSED)
    except (ValueError, DataError, RegistryError) as error:
        return fail(str(error), 2)
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}." if error.filename else str(error), 2)
    except KeyboardInterrupt as interrupt:
        print()  # the progress bar stands in the middle of its line
        return fail(str(interrupt) or INTERRUPTION, INTERRUPTED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
