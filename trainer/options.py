"""What the command lines of trainer, tuning and study share: options, exit codes, and the one line for a mistake."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

from registry.errors import RegistryError
from trainer.adaptation import Counts, adapted, is_small
from trainer.config import DEFAULT_RATES, MODELS, PAPER_MODELS, SMALLEST_SIDE, RunOptions, TrainConfig
from trainer.recipes import RECIPES
from trainer.release.thresholds import parse
from trainer.training.checkpoint import name_of, resumable

REFUSED = 3
INTERRUPTED = 130  # 128 + SIGINT, what shells report for Ctrl-C


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as those of the commands are."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help lists the options)\n")


def parser() -> argparse.ArgumentParser:
    """Options left out (None) keep the recipe's value."""
    options = Parser(
        prog="python -m trainer",
        description="Train, evaluate and push an image classifier. Without options: both CNNs with the default "
        "recipe, and the better of them by validation accuracy is pushed. A setting that is left out has the recipe's "
        "value.",
        epilog="Two commands have options of their own: `push RUN --help` (push a finished run without training again) "
        "and `import PATH --help` (push a model that another trainer made).",
    )
    add = options.add_argument
    for each in fields(TrainConfig):
        kind = type(each.default)
        reading: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        add(f"--{each.name.replace('_', '-')}", default=None, help=each.metadata["help"], **reading)
    add(
        "--recipe",
        help="default; robust (to corrupted images); residual (that model's own); or paper (plain, constant rate); "
        "naming an --optimizer starts from paper",
    )
    begin = options.add_mutually_exclusive_group().add_argument
    resume = "resume an interrupted run, by its name or path; the same command does so by itself"
    begin("--resume", type=_run_name, metavar="RUN", help=resume)
    begin("--fresh", action="store_true", help="start over, even if the same run was interrupted")
    add("--tensorboard", action="store_true", help="write logs for TensorBoard into the run's directory")
    _add_push_options(add)
    return options


def training_parser() -> argparse.ArgumentParser:
    """The trainer's own options; those of `parser` are the search's too."""
    options = parser()
    options.add_argument(
        "--advise", action="store_true", help="print what would be trained on this data, and train nothing"
    )
    return options


def push_parser() -> argparse.ArgumentParser:
    """The options of `push RUN`."""
    options = Parser(
        prog="python -m trainer push",
        description="Judge a finished run against the version that is served now, and push it, without training again.",
    )
    options.add_argument("run", type=_run_name, metavar="RUN", help="name or path of the run in ARTIFACTS/runs")
    _add_push_options(options.add_argument)
    options.set_defaults(resume=None, fresh=False, tensorboard=False)
    return options


def _run_name(text: str) -> str:
    """The name of a run's directory, which may be given with its path, as the terminal shows it."""
    return Path(text).name or text


def _add_push_options(add: Callable[..., Any]) -> None:
    add("--allow-anomalies", action="store_true", help="accept anomalies in the data; the model card lists them")
    add("--model-name", "--name", metavar="NAME", help="name of the served model; if left out, the data set's name")
    add_gate_options(add)


def add_gate_options(add: Callable[..., Any]) -> None:
    """Adds the options of every command that pushes: `add` is a parser's `add_argument`."""
    add(
        "--threshold",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set one of the gate's thresholds, such as accuracy_floor=0.9; trainer/release/thresholds.py lists them",
    )
    add("--force", action="store_true", help="push the model even if the gate refuses it; needs --reason")
    add("--reason", metavar="TEXT", help="why it is forced; the model card records it")
    add(
        "--artifacts",
        default=os.environ.get("ARTIFACTS", "artifacts"),
        help="directory for data, runs and models ($ARTIFACTS, else artifacts)",
    )


def run_options(arguments: argparse.Namespace) -> RunOptions:
    """What the command does with its runs.

    Raises:
        ValueError: a threshold or a limit out of range, or --force without a reason.
    """
    artifacts = Path(arguments.artifacts)
    resume = artifacts / "runs" / arguments.resume if arguments.resume is not None else None
    name = arguments.model_name
    return RunOptions(
        artifacts=artifacts,
        name=name_of(resume) if name is None and resume else name,  # a run keeps the name that it was given
        overrides=parse(arguments.threshold),
        reason=forced(arguments),
        resume=resume,
        **{name: getattr(arguments, name) for name in ("fresh", "tensorboard", "allow_anomalies")},
    )


def configs(arguments: argparse.Namespace, runs: Path, counts: Counts | None = None) -> list[TrainConfig]:
    """One config a model to train: the recipe's, adapted to a data set of such counts, with what the options set.

    Raises:
        ValueError: an unknown name, a value out of range, or a run that cannot be resumed.
    """
    given = {
        field.name: value
        for field in fields(TrainConfig)
        if (value := getattr(arguments, field.name, None)) is not None
    }
    if arguments.resume is not None:
        return [resumable(runs / arguments.resume, given)]
    plain = not arguments.recipe and "optimizer" not in given and "model" not in given
    if plain and counts and is_small(RECIPES["default"], counts) and counts.side >= SMALLEST_SIDE["residual"]:
        given["model"] = "residual"
    # A recipe's rate, schedule and regularisation suit its own optimizer only.
    own = given["model"] if given.get("model") in RECIPES else "default"
    name = arguments.recipe or ("paper" if "optimizer" in given else own)
    if name not in RECIPES:
        raise ValueError(f"`recipe` must be one of {', '.join(RECIPES)}. Received: {name}.")
    recipe = RECIPES[name]
    if given.get("optimizer", recipe.optimizer) != recipe.optimizer:
        recipe = replace(recipe, optimizer=given["optimizer"], weight_decay=0.0)  # refuses an unknown name
        recipe = replace(recipe, learning_rate=DEFAULT_RATES[recipe.optimizer])
    if given.get("dataset", recipe.dataset).partition(":")[0] != recipe.dataset:
        recipe = replace(recipe, mirror=False)  # clothes may be mirrored, but left and right or letters may not
    if (model := given.get("model", recipe.model)) not in MODELS:
        recipe = replace(recipe, model=model, normalization="none")  # the user's function builds it with its own
    both = "model" not in given and recipe.model in PAPER_MODELS
    models: Sequence[str] = PAPER_MODELS if both else [given.pop("model", recipe.model)]
    if counts:
        if both:  # of those that can take such images; if none can, the first says so
            models = [each for each in models if counts.side >= SMALLEST_SIDE[each]] or models[:1]
        return [adapted(recipe, counts, {**given, "model": model}) for model in models]
    return [replace(recipe, model=model, **given) for model in models]


def recipe_of(config: TrainConfig, arguments: argparse.Namespace, runs: Path) -> TrainConfig:
    """What `config` was adapted from: its model's recipe with what the options set, for the model of a larger set."""
    whole = configs(arguments, runs)[0]
    if config.model == whole.model:
        return whole
    (recipe,) = configs(argparse.Namespace(**vars(arguments) | {"model": config.model}), runs)
    return replace(recipe, model=whole.model)


def forced(arguments: argparse.Namespace) -> str | None:
    """Why a refused model is pushed nevertheless, None if it is not.

    Raises:
        ValueError: --force without a reason, or a reason without --force.
    """
    reason = (arguments.reason or "").strip()
    if arguments.force != bool(reason):
        what = "`--force` alone" if arguments.force else "`--reason` alone"
        raise ValueError(f"`--force` and `--reason TEXT` go together. Received: {what}.")
    return reason or None


def exit_code(command: Callable[[], int], interruption: str) -> int:
    """Runs a command; a user's mistake, and Ctrl-C with its `interruption`, become one line and an exit code."""
    try:
        return command()
    except (ValueError, RegistryError) as error:
        return fail(str(error), 2)
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}." if error.filename else str(error), 2)
    except KeyboardInterrupt as interrupt:
        print()  # a progress bar may stand in the middle of its line
        return fail(str(interrupt) or interruption, INTERRUPTED)


def fail(message: str, code: int) -> int:
    """Prints an error to stderr; returns the exit code."""
    with suppress(OSError):  # a full disk must not change the exit code
        print(f"error: {message}", file=sys.stderr, flush=True)
    return code
