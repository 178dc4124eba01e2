"""The registry's command line: `python -m registry list`, and `--help` for the rest."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from registry.card import CardError
from registry.description import comparison, explanation, listing, whole_explanation
from registry.models import models, newest_pushed
from registry.store import ModelStore, RegistryError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help lists the commands and options)\n")


def parser() -> argparse.ArgumentParser:
    where = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    where.add_argument(
        "--models", type=Path, metavar="DIR", help="the models' directory ($MODELS, else $ARTIFACTS/models)"
    )
    where.add_argument(
        "--name", help="the model; if left out, all for `list` and `verify`, otherwise the one that was pushed last"
    )
    top = _Parser(
        prog="python -m registry", description="List, pin, check and remove the versions of models.", parents=[where]
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help_: str, *versions: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help_, description=help_, parents=[where])
        for each in versions:
            made.add_argument(each, type=int)
        return made

    command("list", "list the versions")
    command("show", "print a version's model card as JSON", "version")
    command("explain", "show how a version was trained, measured and judged, on one screen", "version").add_argument(
        "--all", action="store_true", help="add data, settings, libraries, history and all metrics"
    )
    command("compare", "show the differences between two versions", "version", "other")
    command("pin", "serve this version from now on", "version")
    command("unpin", "serve the newest version from now on")
    command("prune", "remove old versions, never the served or the newest").add_argument(
        "--keep", type=int, required=True, metavar="N", help="how many of the newest versions stay"
    )
    command("verify", "check the hashes of all files; exit with 1 if a file is damaged").add_argument(
        "version", type=int, nargs="?", help="if left out, all"
    )
    return top


def _models(options: argparse.Namespace) -> Path:
    # Not a default of the parser: a command's would overwrite what was given before the command.
    usual = Path(os.environ.get("MODELS") or Path(os.environ.get("ARTIFACTS") or "artifacts") / "models")
    return getattr(options, "models", usual)


def find_stores(root: Path, name: str | None, damaged: bool = False) -> list[ModelStore]:
    """The store of the model `name`, or those of all models, by name; with `damaged` also of those without a version.

    Raises:
        RegistryError: there is no such model, or none at all.
    """
    names = models(root, damaged)
    if name is not None:
        store = ModelStore(root, name)
        # A directory is enough: a model whose only version is damaged can still be verified.
        if not store.directory.is_dir():
            there_are = f"there are {', '.join(names)}" if names else "there are none"
            raise RegistryError(f"There is no model {name} in {root}: {there_are}.")
        return [store]
    if not names:
        raise RegistryError(f"There are no models in {root}. Run `make train`, or say where they are with --models.")
    return [ModelStore(root, each) for each in names]


def run(stores: Sequence[ModelStore], options: argparse.Namespace) -> tuple[str, int]:
    """Do one command, on all `stores` or on that of the model pushed last. Returns what to print, and the exit code."""
    match options.command:
        case "list":
            return listing(stores), 0
        case "verify" if options.version is None:
            return verified(stores)
    return run_on(_pushed_last(stores), options)


def _pushed_last(stores: Sequence[ModelStore]) -> ModelStore:
    """The store of the newest pushed model; where there are others, stderr says so."""
    by_name = {store.name: store for store in stores}
    if len(stores) > 1:
        newest = by_name.pop(newest_pushed(stores[0].root, by_name))
        print(f"note: this is about {newest.name}, pushed last; --name chooses {' or '.join(by_name)}", file=sys.stderr)
        return newest
    return stores[0]


def run_on(store: ModelStore, options: argparse.Namespace) -> tuple[str, int]:
    """Do a command that is about one model."""
    match options.command:
        case "show":
            return store.card(options.version).to_json(), 0
        case "explain":
            return (whole_explanation if options.all else explanation)(store, options.version), 0
        case "compare":
            return comparison(store, options.version, options.other), 0
        case "pin":
            store.pin(options.version)
            return (
                f"Version {options.version} of {store.name} is pinned; services change to it in seconds.",
                0,
            )
        case "unpin":
            store.unpin()
            return f"Nothing is pinned; the newest version of {store.name}, {store.newest()}, is served.", 0
        case "prune":
            removed = store.prune(options.keep)
            return f"Removed {_counted(removed)} of {store.name}." if removed else "There was nothing to remove.", 0
    problems = store.verify(options.version)
    return "\n".join(problems) or f"Undamaged: version {options.version}.", 1 if problems else 0


def verified(stores: Sequence[ModelStore]) -> tuple[str, int]:
    """What is damaged in any of `stores`, or that all is whole; and the exit code."""
    found = {store.name: store.verify() for store in stores}
    lines = {store.name: found[store.name] or [f"Undamaged: {_counted(store.versions())}."] for store in stores}
    texts = [f"{name}: {line}" if len(stores) > 1 else line for name in lines for line in lines[name]]
    return "\n".join(texts), 1 if any(found.values()) else 0


def _counted(versions: list[int]) -> str:
    return f"version{'' if len(versions) == 1 else 's'} {', '.join(map(str, versions))}"


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without block characters shows "?" instead
    try:
        damaged = options.command == "verify" and options.version is None
        text, code = run(find_stores(_models(options), getattr(options, "name", None), damaged), options)
    except (RegistryError, CardError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader, such as `head`, needs no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    sys.exit(main())
