"""The trainer's command line: python -m trainer [options]. It parses, and calls the pipeline."""

from __future__ import annotations

import sys
from pathlib import Path

from registry.store import RegistryError
from trainer.data.dataset import DataError
from trainer.data.load import model_name
from trainer.options import INTERRUPTED, REFUSED, configs, fail, forced, import_tensorflow, parser
from trainer.release.thresholds import parse

INTERRUPTION = "Interrupted. Nothing was pushed. Finished epochs are kept: the same command goes on from there."


def main() -> int:
    arguments = parser().parse_args()
    artifacts = Path(arguments.artifacts)
    resume = None if arguments.resume is None else artifacts / "runs" / arguments.resume
    try:
        if arguments.memory_limit < 0:
            raise ValueError(f"`memory_limit` must be at least 0 MiB. Received: {arguments.memory_limit}.")
        chosen = configs(arguments, artifacts / "runs")
        name = model_name(chosen[0].dataset, arguments.model_name)
        overrides, reason = parse(arguments.threshold), forced(arguments)
        import_tensorflow()
        from trainer import devices, pipeline, report

        computing, limit = devices.start(), arguments.memory_limit * 2**20
        if not computing.leads:
            pipeline.take_part(chosen, artifacts, name, limit, computing)
            return 0
        if resume and computing.processes > 1:
            raise ValueError("`--resume` is for a run of one process; several begin anew.")
        try:
            finished = pipeline.run(
                chosen,
                artifacts,
                name=name,
                overrides=overrides,
                reason=reason,
                resume=resume,
                fresh=arguments.fresh,
                tensorboard=arguments.tensorboard,
                memory_limit=limit,
                allow_anomalies=arguments.allow_anomalies,
                devices=computing,
            )
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
