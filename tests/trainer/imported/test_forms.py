"""What is put before and after a model: order and place of the channels, ranges, quantized integers, a single unit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.imported.foreign import CLASSES, saved, small, softmax
from trainer.imported.options import ImportOptions

pytestmark = pytest.mark.tensorflow

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def exported(path: Path, classes: tuple[str, ...] = CLASSES, **options: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The version that an import makes of a file, as a function from raw pixels to probabilities."""
    from trainer.imported.export import export
    from trainer.imported.model import ImportedModel
    from trainer.imported.read import read
    from trainer.release.exported import loaded

    asked = ImportOptions(path, classes, "imported", path.parent, **options)
    directory = path.parent / "version"
    directory.mkdir()
    export(ImportedModel.of(read(asked), asked), path, directory, 1e-3)
    return loaded(directory)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)


def flatbuffer(model: Any, path: Path, **settings: Any) -> Path:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in settings.items():
        setattr(converter, name, value)
    path.write_bytes(converter.convert())
    return path


def test_one_sigmoid_is_the_second_of_two_classes(tmp_path: Path) -> None:
    model = small(units=1, activation="sigmoid")
    path = saved(model, tmp_path / "m.h5")
    answer = exported(path, ("cat", "dog"), range="0-1", output="probabilities")(images := pixels(28, 28, 1))
    dog = np.asarray(model(images.astype(np.float32) / 255))
    assert np.allclose(answer, np.concatenate([1 - dog, dog], axis=1), atol=1e-6)


def test_grey_images_without_an_axis_of_channels(tmp_path: Path) -> None:
    """As TensorFlow's first tutorial has them."""
    import keras

    model = keras.Sequential([keras.Input((28, 20)), keras.layers.Flatten(), keras.layers.Dense(10)])
    answer = exported(saved(model, tmp_path / "m.keras"), range="0-1")(images := pixels(28, 20, 1))
    assert np.allclose(answer, softmax(model(images[..., 0].astype(np.float32) / 255)), atol=1e-6)


def test_a_model_of_bytes_takes_raw_pixels(tmp_path: Path) -> None:
    import keras

    raw = keras.Input((28, 28, 1), dtype="uint8")
    model = keras.Model(raw, small()(keras.layers.Rescaling(1 / 255)(keras.ops.cast(raw, "float32"))))
    answer = exported(saved(model, tmp_path / "m.keras"))(images := pixels(28, 28, 1))  # no range was told
    assert np.allclose(answer, softmax(model(images)), atol=1e-6)


def test_caffe_takes_blue_first_and_subtracts_its_means(tmp_path: Path) -> None:
    model = small((28, 28, 3))
    model.layers[-1].set_weights([model.layers[-1].get_weights()[0] / 100, np.zeros(10)])
    answer = exported(saved(model, tmp_path / "m.keras"), range="caffe")(images := pixels(28, 28, 3))
    expected = softmax(model(images[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)))
    assert np.allclose(answer, expected, atol=1e-5)


def test_a_flatbuffer_of_one_image_with_the_channels_first(tmp_path: Path) -> None:
    """As PyTorch's models come from litert-torch."""
    import keras

    keras.utils.set_random_seed(0)
    taken = keras.Input((3, 32, 24), batch_size=1)
    features = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(keras.layers.Permute((2, 3, 1))(taken))
    model = keras.Model(taken, keras.layers.Dense(10)(keras.layers.Flatten()(features)))
    path = flatbuffer(model, tmp_path / "m.tflite")
    answer = exported(path, range="imagenet")(images := pixels(32, 24, 3))
    prepared = np.moveaxis((images / 255 - MEAN) / DEVIATION, 3, 1).astype(np.float32)
    expected = np.concatenate([softmax(model(each[None])) for each in prepared])
    assert np.allclose(answer, expected, atol=1e-5)


def test_a_saved_model_that_takes_one_image_at_a_time(tmp_path: Path) -> None:
    import tensorflow as tf

    model, module = small(), tf.Module()
    spec = tf.TensorSpec((1, 28, 28, 1), tf.float32, name="x")
    module.f = tf.function(lambda x: {"logits": model(x)}, input_signature=[spec])
    module.model = model
    tf.saved_model.save(module, str(tmp_path / "one"), signatures={"only": module.f})
    answer = exported(tmp_path / "one", range="0-1")(images := pixels(28, 28, 1))
    assert np.allclose(answer, softmax(model(images.astype(np.float32) / 255)), atol=1e-5)


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs were expected:UserWarning")
def test_a_quantized_flatbuffer_tells_its_range_and_gives_what_it_gave(tmp_path: Path) -> None:
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    examples = np.random.default_rng(1).random((20, 28, 28, 1), np.float32)
    path = flatbuffer(
        small(),
        tmp_path / "m.tflite",
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([each[None]] for each in examples),
        inference_input_type=tf.int8,
        inference_output_type=tf.int8,
    )
    answer = exported(path)(images := pixels(28, 28, 1))  # no range was told
    interpreter = Interpreter(str(path))
    (wanted,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(wanted["index"], images.shape)
    interpreter.allocate_tensors()
    # Quantized to steps of 1/255, a pixel is its own value less 128.
    interpreter.set_tensor(wanted["index"], (images.astype(int) - 128).astype(np.int8))
    interpreter.invoke()
    scale, zero = given["quantization"]
    expected = softmax((interpreter.get_tensor(given["index"]).astype(float) - zero) * scale)
    assert np.allclose(answer, expected, atol=1e-5)
