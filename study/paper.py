"""What the paper published, by figure: X. Min, G. Wang, "CNN Image Classification" (2024, in Chinese).

Curves were read off its figures, good to about 0.003; their epochs count from 0, as in the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

EPOCHS_READ = (5, 10, 24)


@dataclass(frozen=True)
class Published:
    """What is known of one experiment.

    Attributes:
        test_accuracy: as printed; None where the paper has none.
        validation: validation accuracy by epoch.
        loss: validation loss by epoch.
    """

    test_accuracy: float | None = None
    validation: Mapping[int, float] = field(default_factory=dict)
    loss: Mapping[int, float] = field(default_factory=dict)


PUBLISHED: dict[str, Published] = {
    "basic-sgd-0.01": Published(0.8711, {0: 0.768, 5: 0.842, 10: 0.857, 24: 0.873}),  # figures 2.2 and 2.3
    "deep-sgd-0.01": Published(0.8619, {0: 0.654, 5: 0.804, 10: 0.838, 24: 0.866}),  # figure 2.5
    "basic-sgd-0.1": Published(None, {0: 0.827, 24: 0.900}),  # figure 2.6
    "deep-sgd-0.1": Published(None, {0: 0.789, 24: 0.900}),  # figure 2.6
    "basic-sgd-0.5": Published(None, {}, {5: 0.30, 24: 0.6}),  # figures 2.7 and 2.8
    "basic-adam": Published(0.8977, {0: 0.830, 5: 0.878, 10: 0.892, 24: 0.908}),  # figure 2.9
}
