"""Writes what the images need of pyproject.toml: requirements.py PYPROJECT DIRECTORY.

That is each image's list of dependencies, and the project's name and version where importlib.metadata finds them.
"""

import sys
import tomllib
from pathlib import Path

EXTRAS = {
    "serve": ("serve", "tensorflow-cpu"),
    "serve-lite": ("serve", "litert"),
    "train": ("serve", "train", "tune"),
}


def main(pyproject: Path, directory: Path) -> None:
    project = tomllib.loads(pyproject.read_text())["project"]
    directory.mkdir()
    for image, extras in EXTRAS.items():
        lines = sorted({line for extra in extras for line in project["optional-dependencies"][extra]})
        (directory / f"{image}.txt").write_text("\n".join(lines) + "\n")
    name, version = project["name"], project["version"]
    metadata = directory / "metadata" / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
