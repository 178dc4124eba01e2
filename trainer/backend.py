"""Imports TensorFlow and Keras when they are needed: they take seconds, and may be missing."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

BACKENDS = ("tensorflow", "jax")


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras, without the notes on absent GPU drivers that TensorFlow always prints.

    Raises:
        ValueError: one of them or Keras's backend is not installed, or the backend is another than the trainer's.
    """
    _check(os.environ.get("KERAS_BACKEND") or BACKENDS[0])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryFile() as notes:
        try:
            with stderr_to(notes):
                importlib.import_module("tensorflow")
                _check(importlib.import_module("keras").backend.backend())  # Keras's own file may name another
        except ModuleNotFoundError as error:
            raise ValueError(f"The package {error.name} is not installed here; `make install` does so.") from error
        except BaseException:
            notes.seek(0)
            os.write(2, notes.read())
            raise


@contextmanager
def stderr_to(file: IO[bytes]) -> Iterator[None]:
    """Within it, a file gets what is written to stderr, by C++ as well, which logs there."""
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _check(backend: str) -> None:
    if backend not in BACKENDS:
        raise ValueError(f"`KERAS_BACKEND` must be {' or '.join(BACKENDS)}. Received: {backend}.")
