"""The model card: what one version is, read from and written to `assets.extra/model_card.json` inside it.

The version number is not here: it is the name of the directory, and what can be derived is not stored.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

FORMAT = 1
CARD_PATH = "assets.extra/model_card.json"  # TensorFlow's place for files that ride along with a SavedModel


class CardError(ValueError):
    """A model card is missing, malformed, or written by a newer version of this project."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of the serving signature.

    Attributes:
        name: its name in the signature, such as "images".
        shape: its shape without the batch dimension, such as (28, 28, 1).
        dtype: its TensorFlow dtype, such as "float32".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        _check_types(self)
        if not all(size > 0 for size in self.shape):
            raise CardError(f"`shape` must hold positive integers. Received: {self.shape}.")


@dataclass(frozen=True)
class ModelCard:
    """What one version is and where it came from. Tuples inside the dicts come back from disk as lists.

    Attributes:
        name: the served model's name, such as "fashion_mnist".
        run: id of the training run.
        created: ISO 8601 time in UTC, such as "2026-01-31T12:00:00+00:00".
        classes: class names; class i is output unit i.
        input: raw images as clients send them, such as images (28, 28, 1) float32 of 0..255.
        output: such as probabilities (10,) float32.
        data: data set name, source, sha256, images per split.
        config: the TrainConfig that made it.
        metrics: the run's evaluation.json: validation_accuracy, test_accuracy, test_interval [low, high], per_class
            {class: {"recall": ..}}, history {"val_accuracy": [one value an epoch]}, ...; older cards have fewer.
        libraries: version of python and of each library that matters.
        commit: git commit of the code, None outside a checkout.
        verdict: the gate's {"accepted": bool, "forced": None or a reason, "forced_by": None or a user's name,
            "against": None or the version then served, "thresholds": {name: number}, "checks": [{"name",
            "passed", "value", "threshold", "sentence"}]}, None when not judged.
        files: relative path -> sha256 in hex, for every other file of the version; publishing fills it.
        format: the card's own format.

    Raises:
        CardError: a field of the wrong type, or a value that JSON cannot hold.
    """

    name: str
    run: str
    created: str
    classes: tuple[str, ...]
    input: TensorSpec
    output: TensorSpec
    data: dict[str, Any]
    config: dict[str, Any]
    metrics: dict[str, Any]
    libraries: dict[str, str]
    commit: str | None
    verdict: dict[str, Any] | None = None
    files: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        _check_types(self)
        _check_created(self.created)
        for name, value in asdict(self).items():
            _check_json(name, value)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)

    def write(self, directory: Path) -> None:
        """Write the card into the version `directory`. Raises OSError when the disk refuses."""
        path = directory / CARD_PATH
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> "ModelCard":
        """Read the card of the version `directory`.

        Raises:
            CardError: no card, not JSON, missing, unknown or mistyped fields, or a newer format.
        """
        path = directory / CARD_PATH
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CardError(f"There is no model card at {path}.") from None
        except OSError as error:
            raise CardError(f"The model card {path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise CardError(f"The model card {path} is not JSON: {error}.") from error
        try:
            return _from_json(content)
        except CardError as error:
            raise CardError(f"The model card {path} is not valid: {error}") from error


def _from_json(content: Any) -> ModelCard:
    # The format comes first: a newer card may well have fields that this reader does not know.
    format_ = content.get("format") if isinstance(content, dict) else None
    if type(format_) is int and format_ > FORMAT:
        raise CardError(
            f"it was written by a newer version of this project "
            f"(format {format_}, this one reads up to {FORMAT}): upgrade."
        )
    values = _fields_of(ModelCard, content, "the card")
    values["classes"] = _tuple(values["classes"])
    for key in ("input", "output"):
        spec = _fields_of(TensorSpec, values[key], f"`{key}`")
        values[key] = TensorSpec(**spec | {"shape": _tuple(spec["shape"])})
    return ModelCard(**values)


def _fields_of(kind: type[Any], content: Any, what: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise CardError(f"{what} must be a JSON object. Received: {_brief(content)}.")
    expected = {each.name for each in fields(kind)}
    if missing := sorted(expected - set(content)):
        raise CardError(f"{what} lacks {', '.join(missing)}.")
    if unknown := sorted(set(content) - expected):
        raise CardError(f"{what} has unknown fields: {', '.join(unknown)}.")
    return content


def _tuple(value: Any) -> Any:
    """A list as the tuple it was before JSON; anything else as it is, for the type check to refuse."""
    return tuple(value) if isinstance(value, list) else value


def _check_types(record: ModelCard | TensorSpec) -> None:
    for each in fields(record):
        value = getattr(record, each.name)
        if not _fits(value, each.type):
            kind = each.type.__name__ if isinstance(each.type, type) else str(each.type)
            kind = kind.replace("typing.", "")
            raise CardError(f"`{each.name}` must be {kind}. Received: {_brief(value)}.")


def _fits(value: Any, kind: Any) -> bool:
    """Whether `value` is of the annotated `kind`, as far as the annotations of this file go."""
    inner = get_args(kind)
    if kind is Any:
        return True
    if isinstance(kind, UnionType):
        return any(_fits(value, each) for each in inner)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(item, inner[0]) for item in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_fits(k, str) and _fits(v, inner[1]) for k, v in value.items())
    # A bool is an int to Python, but not a size.
    return isinstance(value, kind) and not isinstance(value, bool)


def _check_created(created: str) -> None:
    try:
        offset = datetime.fromisoformat(created).utcoffset()
    except ValueError:
        offset = None
    if offset != timedelta(0):
        raise CardError(
            f"`created` must be an ISO 8601 time in UTC, such as 2026-01-31T12:00:00+00:00. Received: {created}."
        )


def _check_json(name: str, value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise CardError(f"`{name}` must hold text, finite numbers, lists and dicts only. Received: {error}.") from error


def _brief(value: Any) -> str:
    text = repr(value)
    return f"{text[:60]}... ({type(value).__name__})" if len(text) > 60 else f"{text} ({type(value).__name__})"
