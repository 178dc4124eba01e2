"""The files beside a version's SavedModel in `assets.extra`, read once a version: for the page, and for each reply.

Versions that an older trainer pushed lack some of it; they are served all the same.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from registry.store import ModelStore
from serving.images.photographs import Look
from serving.images.pixels import Images
from serving.model.served import Predictor
from serving.settings import Settings

FOLDER = "assets.extra"
SCORE = "familiar.npz"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NoveltyScore:
    """Tells an image that looks like nothing in the training data, by numbers that the trainer fitted.

    `trainer/evaluation/novelty.py` says how; this is the same computation, and a test holds the two together.
    """

    rows: NDArray[np.float32]
    columns: NDArray[np.float32]
    whiten: NDArray[np.float32]
    centers: NDArray[np.float32]
    threshold: NDArray[np.float64]

    def scores(self, images: Images) -> list[float]:
        """For uint8 (n, height, width, channels): above 1 is out of distribution; rounded to three places."""
        count, height, width, channels = images.shape
        # One flat product for all rows of all images: numpy is slow at many small ones.
        planes = images if channels == 1 else np.moveaxis(images, 3, 1)
        lines = planes.reshape(-1, width).astype(np.float32) @ self.columns
        cells = self.rows @ lines.reshape(count * channels, height, -1)
        whitened = cells.reshape(count, -1) @ self.whiten
        distances = np.sqrt(np.square(whitened[:, None] - self.centers).sum(axis=2).min(axis=1))
        return [round(score, 3) for score in (distances / self.threshold).tolist()]


class Assets:
    """The files of one version."""

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        self.version = predictor.version
        self.look = Look.of(predictor.card)
        self._files = predictor.card.files
        self.store = ModelStore(settings.model_root, predictor.card.name)
        self.directory = self.store.path(self.version) / FOLDER

    @cached_property
    def novelty(self) -> NoveltyScore | None:
        """The score of the version, None where it has none."""
        path = self.directory / SCORE
        try:
            with path.open("rb") as file, np.load(file) as numbers:
                return NoveltyScore(**numbers)
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged archive raises anything from EOFError to BadZipFile
            logger.error("%s cannot be used, so replies go without: %s", path, error)
            return None

    def file(self, name: str) -> Path | None:
        """A file that the card lists, so that no other file of the disk can be read; None for any other name."""
        path = self.directory / name
        return path if f"{FOLDER}/{name}" in self._files and path.is_file() else None


class CurrentAssets:
    """The assets of the version that answers, kept until another one does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: Assets | None = None

    def of(self, predictor: Predictor) -> Assets:
        """Any thread may ask; two that ask at once for a new version both read it."""
        kept = self._kept
        if kept is None or kept.version != predictor.version:
            kept = self._kept = Assets(predictor, self._settings)
        return kept
