"""The models of a store's root: which there are, and which was pushed last."""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from registry.card import CardError
from registry.errors import RegistryError, refusals
from registry.names import is_name
from registry.store import ModelStore

MOST_SERVED = 4  # models of a root, unless the service's MAX_MODELS says otherwise


def models(root: Path, damaged: bool = False) -> list[str]:
    """Names of the models under `root` that have a version, or with `damaged` what is left of one; sorted."""
    with refusals("list the models", root):
        names = sorted(os.listdir(root)) if root.is_dir() else []
        names = [name for name in names if is_name(name) and (root / name).is_dir()]
    stores = [ModelStore(root, name) for name in names]
    return [store.name for store in stores if (store.numbers() if damaged else store.versions())]


def newest_pushed(root: Path, names: Iterable[str]) -> str:
    """Of the models `names`, at least one, the one whose newest version was made last, as its card says."""

    def made(name: str) -> tuple[float, str]:
        store = ModelStore(root, name)
        try:
            return datetime.fromisoformat(store.card(store.newest() or 0).created).timestamp(), name
        except (CardError, RegistryError):  # damaged, or removed meanwhile
            return 0.0, name

    return max(names, key=made)
