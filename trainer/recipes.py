"""The recipes: settings that were chosen together, by name.

All but the paper's were chosen on Fashion-MNIST's validation images, clean and corrupted; docs/training.md has what was
tried. A recipe that is called as a model is that model's own.
"""

from dataclasses import replace

from trainer.config import TrainConfig

_DEFAULT = TrainConfig(
    normalization="standardize",
    optimizer="adamw",
    learning_rate=4e-3,
    schedule="cosine",
    weight_decay=0.05,
    epochs=30,
    label_smoothing=0.05,
    mirror=True,
    shift=2,
    erase=0.1,
)
RECIPES: dict[str, TrainConfig] = {
    "default": _DEFAULT,
    "robust": replace(_DEFAULT, rotate=12, noise=16, blur=0.8, erase=0.0),
    "residual": replace(_DEFAULT, model="residual", learning_rate=3e-3, shift=1, noise=6),
    "paper": TrainConfig(),
}
