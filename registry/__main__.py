"""The registry's command line: `python -m registry list`, and `--help` for the rest."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from registry.card import CardError
from registry.store import ModelStore, RegistryError, models
from registry.text import comparison, explanation, listing


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def parser() -> argparse.ArgumentParser:
    where = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    where.add_argument(
        "--models", type=Path, metavar="DIR", help="the models' directory ($MODELS, else $ARTIFACTS/models)"
    )
    where.add_argument("--name", help="the model; needed where there are several")
    top = _Parser(prog="python -m registry", description="Manage the versions of a model.", parents=[where])
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help_: str, *versions: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help_, description=help_, parents=[where])
        for each in versions:
            made.add_argument(each, type=int)
        return made

    command("list", "list the versions")
    command("show", "print a version's card as JSON", "version")
    command("explain", "show all that is known of a version", "version")
    command("compare", "show what two versions differ in", "version", "other")
    command("pin", "serve this version from now on", "version")
    command("unpin", "serve the newest version from now on")
    command("prune", "remove old versions, never the served or the newest").add_argument(
        "--keep", type=int, required=True, metavar="N", help="how many of the newest versions stay"
    )
    command("verify", "hash every file again; exit 1 where something is damaged").add_argument(
        "version", type=int, nargs="?", help="all, where left out"
    )
    return top


def _models(options: argparse.Namespace) -> Path:
    # Not a default of the parser: a command's would overwrite what was given before the command.
    usual = Path(os.environ.get("MODELS") or Path(os.environ.get("ARTIFACTS") or "artifacts") / "models")
    return getattr(options, "models", usual)


def find_store(root: Path, name: str | None) -> ModelStore:
    """The store of the model `name`, or of the only one. Raises RegistryError when that is not one model."""
    names = models(root)
    there_are = f"there are {', '.join(names)}" if names else "there are none"
    if name is not None:
        store = ModelStore(root, name)
        # A directory is enough: a model whose only version is damaged can still be verified.
        if not store.directory.is_dir():
            raise RegistryError(f"There is no model {name} in {root}: {there_are}.")
        return store
    if len(names) > 1:
        raise RegistryError(f"Expected one model in {root}; {there_are}. Choose one with --name.")
    if not names:
        raise RegistryError(f"There are no models in {root}. Run `make train`, or say where they are with --models.")
    return ModelStore(root, names[0])


def run(store: ModelStore, options: argparse.Namespace) -> tuple[str, int]:
    """Do one command. Returns what to print, and the exit code."""
    match options.command:
        case "list":
            return listing(store), 0
        case "show":
            return store.card(options.version).to_json(), 0
        case "explain":
            return explanation(store, options.version), 0
        case "compare":
            return comparison(store, options.version, options.other), 0
        case "pin":
            store.pin(options.version)
            return f"Version {options.version} of {store.name} is pinned and served from now on.", 0
        case "unpin":
            store.unpin()
            return f"Nothing is pinned; the newest version of {store.name}, {store.newest()}, is served.", 0
        case "prune":
            removed = store.prune(options.keep)
            return f"Removed {_counted(removed)}." if removed else "There was nothing to remove.", 0
    problems = store.verify(options.version)
    checked = store.versions() if options.version is None else [options.version]
    return "\n".join(problems) or f"Whole: {_counted(checked)}.", 1 if problems else 0


def _counted(versions: list[int]) -> str:
    return f"version{'' if len(versions) == 1 else 's'} {', '.join(map(str, versions))}"


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without block characters shows "?" instead
    try:
        text, code = run(find_store(_models(options), getattr(options, "name", None)), options)
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
