"""The study's command line: python -m study [options]."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from study.experiments import ALL
from trainer.options import Parser, exit_code, fail

ROOT = Path(__file__).parent.parent


def parser() -> argparse.ArgumentParser:
    options = Parser(
        prog="python -m study",
        description="Run the paper's experiments, test its claims, and write a report. Finished runs are kept.",
    )
    add = options.add_argument
    add("--seeds", type=int, default=1, help="runs per experiment, with seeds from 0 (1)")
    add("--only", default="", metavar="ID,ID", help=f"experiments to run now: {', '.join(each.id for each in ALL)}")
    add("--workers", type=int, default=0, help="runs side by side; 0: one per core")
    add("--write-results", action="store_true", help="write study/RESULTS.md too, in a git checkout")
    add("--artifacts", default=os.environ.get("ARTIFACTS", "artifacts"), help="directory for data, results and reports")
    return options


def main() -> int:
    given = parser().parse_args()
    return exit_code(
        lambda: _run(given), "Interrupted. Finished runs and epochs are kept; the same command continues from there."
    )


def _run(given: argparse.Namespace) -> int:
    only = given.only.replace(",", " ").split()
    folder = Path(given.artifacts) / "study"
    if given.write_results and not (ROOT / ".git").exists():
        return fail(f"`--write-results` needs a git checkout, whose study/RESULTS.md it writes. Received: {ROOT}.", 2)
    summary = ROOT / "study" / "RESULTS.md" if given.write_results else None
    try:
        from study.pipeline import study
    except ModuleNotFoundError as error:
        return fail(f"The package {error.name} is not installed here; `make install` does so.", 2)
    path = study(ALL, folder, seeds=given.seeds, only=only, workers=given.workers, summary=summary)
    print(f"Report: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
