"""A process of its own for the tests: publishes versions until it has done COUNT, or is killed.

python pusher.py ROOT COUNT [BYTES]; prints "ready" once it begins.
"""

import sys
from pathlib import Path

from registry.card import ModelCard, TensorSpec
from registry.store import ModelStore

FILES = 4


def push(store: ModelStore, size: int) -> int:
    card = ModelCard(
        name=store.name,
        run="run",
        created="2026-01-31T12:00:00+00:00",
        classes=("a", "b"),
        input=TensorSpec("images", (28, 28, 1), "float32"),
        output=TensorSpec("probabilities", (2,), "float32"),
        data={},
        config={},
        metrics={},
        libraries={},
        commit=None,
    )
    with store.stage() as staged:
        (staged / "variables").mkdir()
        for i in range(FILES):
            (staged / "variables" / f"{i}").write_bytes(bytes(size))
        (staged / "saved_model.pb").write_bytes(b"graph")
        return store.publish(staged, card)


if __name__ == "__main__":
    store = ModelStore(Path(sys.argv[1]), "fashion_mnist")
    size = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    print("ready", flush=True)
    for _ in range(int(sys.argv[2])):
        push(store, size)
