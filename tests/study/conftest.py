"""Results as runs leave them, without the training."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from study.experiments import ALL, Job
from study.results import Result

CLASSES = ["T-shirt/top", "Trouser", "Shirt"]
LABELS = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
EXPERIMENTS = {each.id: each for each in ALL}
MakeResult = Callable[..., Result]


@pytest.fixture
def result() -> MakeResult:
    """Makes the result of an experiment and a seed, with plausible defaults."""

    def make(
        name: str,
        seed: int = 0,
        *,
        accuracy: float = 0.8,
        validation: Sequence[float] = (0.7, 0.8, 0.86, 0.87),
        loss: Sequence[float] = (0.6, 0.5, 0.4, 0.4),
        predicted: Sequence[int] = (0, 0, 0, 1, 1, 1, 0, 0, 2, 2),
        **others: Any,
    ) -> Result:
        job = Job(EXPERIMENTS[name], seed)
        history = {"accuracy": list(validation), "loss": list(loss)}
        history |= {f"val_{key}": values for key, values in history.items()}
        about = {
            "id": name,
            "seed": seed,
            "fingerprint": job.fingerprint,
            "config": job.config.asdict(),
            "history": history,
            "best_epoch": 3,
            "test_accuracy": accuracy,
            "test_interval": [accuracy - 0.01, accuracy + 0.01],
            "classes": CLASSES,
            "labels": LABELS,
            "predicted": list(predicted),
            "robustness": {},
            "seconds": 1.0,
            "environment": {"machine": "m", "versions": "v", "commit": "c"},
        }
        return Result(**(about | others))

    return make
