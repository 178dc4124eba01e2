"""Writes the images' lists of dependencies, out of pyproject.toml's extras: requirements.py PYPROJECT DIRECTORY."""

import sys
import tomllib
from pathlib import Path

IMAGES = {
    "serve": ("serve", "tensorflow-cpu"),
    "serve-lite": ("serve", "litert"),
    "train": ("serve", "train"),
}


def main(pyproject: Path, directory: Path) -> None:
    extras = tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"]
    directory.mkdir()
    for image, names in IMAGES.items():
        lines = sorted({line for name in names for line in extras[name]})
        (directory / f"{image}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
