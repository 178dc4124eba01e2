"""Builds the container images with whichever engine works here: python -m deploy.image [TARGET] [--model DIRECTORY].

Standard library and the registry only, so that a machine with Python and an engine needs nothing else.
"""

import argparse
import configparser
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.store import ModelStore, RegistryError

ROOT = Path(__file__).parent.parent
NAME = "cnn-model-service"
TARGETS = ("serve", "serve-lite", "train")
ENGINES = ("docker", "podman", "buildah")
CERTIFICATES = "/run/secrets/ca"  # where the Dockerfile sees the secret `ca`


class ImageError(RuntimeError):
    """The image cannot be built; the message says what is missing."""


def main() -> None:
    options = _options()
    try:
        found = engine(options.engine)
        version = served(options.model) if options.model else None
        if version and options.target == "train":
            raise ImageError("a model is baked into serve or serve-lite. Received: train")
        tag = build(options.target, options.tag, options.base, found)
        if version:
            bake(tag, version, found, tag)
    except (ImageError, RegistryError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except subprocess.CalledProcessError as error:
        print(f"error: {error.cmd[0]} could not build it, as it says above", file=sys.stderr)
        sys.exit(1)
    print(f"Built {tag}.")


def engine(wanted: str | None = None) -> str:
    """The first engine that works, or the wanted one; a docker without its daemon does not. ImageError if none does."""
    names = (wanted,) if wanted else ENGINES
    for name in names:
        if shutil.which(name) and not subprocess.run([name, "info"], capture_output=True, check=False).returncode:
            return name
    raise ImageError(f"{' or '.join(names)} must be installed and working. Received: none")


def build(target: str, tag: str | None, base: str | None, engine: str) -> str:
    """Build `target` of the Dockerfile, on another `base` if one is named. Returns the image's name."""
    tag = tag or f"{NAME}:{target}"
    options = ["--target", target]
    for name, value in (("version", _version()), ("revision", _revision())):
        options += ["--label", f"org.opencontainers.image.{name}={value}"]
    if base:
        options += ["--build-arg", f"BASE={base}"]
    with _secrets() as secrets:
        _build(engine, tag, ROOT, [*options, *secrets])
    return tag


def served(model: Path) -> Path:
    """The version that `model`, such as artifacts/models/fashion_mnist, serves now; ImageError if there is none."""
    store = ModelStore(model.resolve().parent, model.resolve().name)
    version = store.served()
    if version is None:
        raise ImageError(f"MODEL must be a directory of versions, as artifacts/models/NAME is. Received: {model}")
    if problems := store.verify(version):
        raise ImageError(f"a damaged version is not baked in: {problems[0]}")
    return store.path(version)


def bake(image: str, version: Path, engine: str, tag: str) -> None:
    """Make `tag` of `image` and the directory of a `version` of a model."""
    with tempfile.TemporaryDirectory() as context:
        shutil.copytree(version, Path(context, "models", version.parent.name, version.name))
        # Whatever the umask of who trained it: the container's user must be able to read it.
        subprocess.run(["chmod", "-R", "a+rX", context], check=True)
        Path(context, "Dockerfile").write_text(f"FROM {image}\nCOPY models /models\n")
        _build(engine, tag, Path(context), [])


def _build(engine: str, tag: str, context: Path, options: list[str]) -> None:
    if engine == "docker":
        environment, more = os.environ | {"DOCKER_BUILDKIT": "1"}, []
    else:
        # OCI's own format has no HEALTHCHECK.
        environment, more = dict(os.environ), ["--format", "docker", "--layers"]
    subprocess.run([engine, "build", *more, "--tag", tag, *options, str(context)], env=environment, check=True)


@contextmanager
def _secrets() -> Iterator[list[str]]:
    """Options that lend the build pip's settings and the certificates that this machine trusts."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    settings = dict(line.split("=", 1) for line in listed.stdout.splitlines() if "=" in line)
    values = {key.rpartition(".")[2]: value.strip("'") for key, value in settings.items()}
    config = configparser.ConfigParser(interpolation=None)
    config["global"] = {key: values[key] for key in ("index-url", "trusted-host", "timeout") if key in values}
    options: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        if certificates := values.get("cert"):
            config["global"]["cert"] = CERTIFICATES
            options += ["--secret", f"id=ca,src={certificates}"]
        if config["global"]:
            with (path := Path(directory, "pip.conf")).open("w") as file:
                config.write(file)
            options += ["--secret", f"id=pip,src={path}"]
        yield options


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def _revision() -> str:
    if not shutil.which("git"):
        return "unknown"
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.image", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", nargs="?", choices=TARGETS, default="serve", help="which image [serve]")
    parser.add_argument("--model", type=Path, help="bake in what this directory of versions serves [mount one]")
    parser.add_argument("--base", help="image to build on [python:3.11-slim]")
    parser.add_argument("--tag", help=f"name of the image [{NAME}:TARGET]")
    parser.add_argument("--engine", choices=ENGINES, help="[the first that works]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
