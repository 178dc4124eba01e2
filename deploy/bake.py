"""Writes the build context of an image with a model in it: python -m deploy.bake MODEL DIRECTORY.

`make image MODEL=...` builds it on top of a service's image. Standard library and the registry only, so that a machine
with Python and an engine needs nothing else.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from registry.errors import RegistryError
from registry.store import ModelStore

DOCKERFILE = """\
ARG IMAGE
FROM ${IMAGE}
COPY models /models
"""


def main() -> None:
    model, directory = map(Path, sys.argv[1:])
    try:
        write(served(model), directory)
    except RegistryError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def served(model: Path) -> Path:
    """The version that `model`, such as artifacts/models/fashion_mnist, serves now; RegistryError if there is none."""
    store = ModelStore(model.resolve().parent, model.resolve().name)
    version = store.served()
    if version is None:
        raise RegistryError(f"MODEL must be a directory of versions, as artifacts/models/NAME is. Received: {model}")
    if problems := store.verify(version):
        raise RegistryError(f"a damaged version is not baked in: {problems[0]}")
    return store.path(version)


def write(version: Path, directory: Path) -> None:
    """Write a Dockerfile and a copy of `version` into `directory`, which becomes the context of a build."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(version, directory / "models" / version.parent.name / version.name)
    # Whatever the umask of who trained it: the container's user must be able to read it.
    subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
    (directory / "Dockerfile").write_text(DOCKERFILE)


if __name__ == "__main__":
    main()
