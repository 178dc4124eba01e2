"""What cannot be imported is refused in one sentence that says what to do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.imported.conftest import Importing, draw
from tests.trainer.imported.foreign import CLASSES, saved, small
from trainer.imported.options import ImportedModelError, import_options, parsed
from trainer.imported.pictures import samples

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def refusal(importing: Importing, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The one line on stderr with which an import ends that a user has to mend."""

    def refused(path: Path, *options: str, code: int = 2, **files: Path) -> str:
        assert importing(path, tmp_path / "artifacts", *options, **files) == code
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert line.count("\n") == 1
        assert not (tmp_path / "artifacts" / "models").exists()
        return line

    return refused


def test_a_missing_class_name(refusal: Any, tmp_path: Path) -> None:
    names = tmp_path / "nine.txt"
    names.write_text("\n".join(CLASSES[:9]))
    line = refusal(saved(small(), tmp_path / "model.keras"), "--range", "0-1", classes=names)
    assert "The model gives 10 scores, so --classes must name 10 classes" in line
    assert "Received: 9 (class 0 ... class 8); name the missing ones." in line


def test_a_range_that_nobody_told(refusal: Any, tmp_path: Path) -> None:
    assert "pass --range, one of 0-255, 0-1, -1-1, imagenet, caffe" in refusal(saved(small(), tmp_path / "m.keras"))


def test_a_range_that_the_model_contradicts(refusal: Any, tmp_path: Path) -> None:
    import keras

    model = saved(small(head=keras.layers.Rescaling(1 / 255)), tmp_path / "m.keras")
    assert "takes pixel values of 0-255. Received: --range 0-1; leave it out." in refusal(model, "--range", "0-1")


def test_two_inputs(refusal: Any, tmp_path: Path) -> None:
    import keras

    first, second = small(), small()
    model = keras.Model([first.input, second.input], keras.layers.Add()([first.output, second.output]))
    line = refusal(saved(model, tmp_path / "m.keras"), "--range", "0-1")
    assert "has 2 inputs, and must have one" in line


def test_a_detection_model(refusal: Any, tmp_path: Path) -> None:
    import keras

    model = small()
    boxes = keras.layers.Reshape((5, 2))(model.output)
    several = saved(keras.Model(model.input, [model.output, boxes]), tmp_path / "several.keras")
    assert "has 2 outputs, and must have one: detection" in refusal(several, "--range", "0-1")
    line = refusal(saved(keras.Model(model.input, boxes), tmp_path / "boxes.keras"), "--range", "0-1")
    assert "must give scores of shape (batch, classes). Received: (any, 5, 2); detection" in line


def test_independent_sigmoids(refusal: Any, tmp_path: Path) -> None:
    line = refusal(saved(small(activation="sigmoid"), tmp_path / "m.keras"), "--range", "0-1")
    assert "do not sum to 1" in line
    assert "if they are logits, pass --output logits" in line


def test_one_score_that_may_be_a_logit(refusal: Any, tmp_path: Path) -> None:
    """A logit of a quarter is a probability of more than a half."""
    model = small(units=1)
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel / 1000, np.array([0.25])])
    names = tmp_path / "two.txt"
    names.write_text("cat\ndog")
    line = refusal(saved(model, tmp_path / "m.keras"), "--range", "0-1", classes=names)
    assert "pass --output probabilities if it ends in a sigmoid, else --output logits" in line


def test_layers_of_the_user_s_own(refusal: Any, tmp_path: Path) -> None:
    import keras

    class Doubled(keras.layers.Layer):
        def call(self, values: Any) -> Any:
            return values * 2

    line = refusal(saved(small(head=Doubled()), tmp_path / "m.keras"), "--range", "0-1")
    assert "Could not locate class 'Doubled'." in line
    assert "import the directory that model.export(DIRECTORY) writes" in line


def test_an_open_size(refusal: Any, tmp_path: Path) -> None:
    import keras

    images = keras.Input((None, None, 1))
    scores = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(images)))
    model = saved(keras.Model(images, scores), tmp_path / "m.keras")
    assert "give the one to serve, such as --size 224x224" in refusal(model, "--range", "0-1")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "missing.keras",
            None,
            "must be a .keras file, a directory with saved_model.pb, or a .tflite file. Received: a",
        ),
        ("model.pt", b"PK", "Convert other formats first: PyTorch by litert-torch, ONNX by onnx2tf."),
        ("model.keras", b"nonsense", "does not load in Keras"),
        ("model.tflite", b"nonsense", "does not load in LiteRT"),
        ("folder/config.json", b"{}", "Received: a directory without saved_model.pb."),
    ],
)
def test_files_that_are_no_models(
    refusal: Any, tmp_path: Path, name: str, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert expected in refusal(tmp_path / name.split("/")[0], "--range", "0-1")


def test_a_model_that_takes_one_size_of_batch_only(refusal: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 28, 28, 1), tf.float32)])
    def serve(images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.reshape(images, (1, 784))[:, :10])

    tf.saved_model.save(tf.Module(), str(tmp_path / "fixed"), signatures={"serving_default": serve})
    assert "The model fails on 4 images of noise: " in refusal(tmp_path / "fixed", "--range", "0-1")


def test_a_saved_model_without_a_signature(refusal: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    line = refusal(tmp_path / "bare", "--range", "0-1")
    assert 'save it with signatures={"serving_default": function}' in line


def test_a_wrong_range_is_seen_on_labelled_pictures(refusal: Any, tmp_path: Path) -> None:
    """With bias, a model that learned on 0..1 answers 0..255 otherwise."""
    model = small()
    bias = np.linspace(-3, 3, 10, dtype=np.float32)
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel / 10, bias])
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28, 1), np.uint8)
    labels = np.asarray(model(images.astype(np.float32) / 255)).argmax(axis=1)
    folder = draw(tmp_path / "samples", images, labels)
    path = saved(model, tmp_path / "m.keras")
    line = refusal(path, "--range", "0-255", "--samples", str(folder))
    assert "--range 0-255 seems wrong" in line
    assert "and 60 with 0-1. Import it with --range 0-1" in line


def test_a_wrong_range_is_seen_on_pictures_without_labels(refusal: Any, tmp_path: Path) -> None:
    model = small()
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), np.uint8)
    draw(tmp_path / "drawn", images, np.zeros(20, int))
    (tmp_path / "drawn" / CLASSES[0]).rename(tmp_path / "samples")
    path = saved(model, tmp_path / "m.keras")
    logits = np.sort(np.asarray(model(images.astype(np.float32) / 255)), axis=1)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 5 / np.median(logits[:, -1] - logits[:, -2]), bias])
    path = saved(model, tmp_path / "m.keras")
    line = refusal(path, "--range", "0-255", "--samples", str(tmp_path / "samples"))
    assert "the model is certain of every picture with pixel values of 0-255, and not with" in line


def test_an_untested_model_does_not_replace_a_served_one_unless_it_is_forced(
    importing: Importing, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(small(), tmp_path / "m.keras")
    assert importing(path, tmp_path, "--range", "0-1") == 0
    capsys.readouterr()
    assert importing(path, tmp_path, "--range", "0-1") == 3
    shown = capsys.readouterr()
    assert "give --test folder:PATH" in shown.out
    assert "The gate refused the model; nothing was pushed." in shown.err
    assert importing(path, tmp_path, "--range", "0-1", "--force", "--reason", "a trial") == 0
    assert "refused, but forced: a trial" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--size", "0x5"), "must be HEIGHTxWIDTH"),
        (("--size", "224x"), "must be HEIGHTxWIDTH in pixels, such as 224x224. Received: 224x."),
        (("--size", "224"), "must be HEIGHTxWIDTH in pixels, such as 224x224. Received: 224."),
        (("--test", "held-out"), "`--test` must be folder:PATH. Received: held-out."),
        (("--force",), "go together"),
    ],
)
def test_options_that_cannot_be(classes: Path, options: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        import_options(parsed(["m.keras", "--classes", str(classes), "--name", "flowers", *options]))


def test_class_names_are_read_as_the_names_of_folders_are(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cafe\u0301\ndog\n", "utf-8-sig")
    options = import_options(parsed(["m.keras", "--classes", str(tmp_path / "classes.txt"), "--name", "pets"]))
    assert options.classes == ("caf\u00e9", "dog")


def test_class_names_that_repeat(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\ndog\ncat\n")
    with pytest.raises(ImportedModelError, match=r"must name each class once\. Received twice: cat"):
        import_options(parsed(["m.keras", "--classes", str(tmp_path / "classes.txt"), "--name", "pets"]))


def test_a_blank_class_name(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(ValueError, match=r"expected a class name in each line; line 2 is blank"):
        import_options(parsed(["m.keras", "--classes", str(tmp_path / "classes.txt"), "--name", "pets"]))


def test_the_range_from_minus_one_to_one_is_no_option(classes: Path) -> None:
    given = ["m.keras", "--classes", str(classes), "--name", "flowers", "--range", "-1-1"]
    assert import_options(parsed(given)).range == "-1-1"


def test_a_broken_pin(importing: Importing, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models" / "imported").mkdir(parents=True)
    (tmp_path / "models" / "imported" / "pinned").write_text("7")
    assert importing(tmp_path / "missing.keras", tmp_path, "--range", "0-1") == 2
    assert "names version 7, which is not there" in capsys.readouterr().err


def test_hidden_files_are_no_samples(classes: Path, tmp_path: Path) -> None:
    folder = draw(tmp_path / "samples", np.full((1, 28, 28, 1), 7, np.uint8), np.zeros(1, int))
    (folder / CLASSES[0] / "._0.jpg").write_bytes(b"of macOS")
    draw(folder / ".ipynb_checkpoints", np.zeros((1, 28, 28, 1), np.uint8), np.zeros(1, int))
    given = ["m.keras", "--classes", str(classes), "--name", "flowers", "--samples", str(folder)]
    found = samples(import_options(parsed(given)), None, (28, 28, 1))
    assert (found.images.mean(), found.labels.tolist()) == (7, [0])
