"""A model that answers when a test lets it: what a server does while its model is busy is seen at leisure."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.store import ModelStore
from tests.serving.conftest import CLASSES, make_card

BRIGHT_STEPS = 200  # of the model for bright images; some 50 ms


class GatedModel:
    """A models directory, and the gate before its model. It needs TensorFlow, without XLA.

    Images whose first pixel is 1 wait in the model until the gate is open, without computing. Bright images, of which
    a warm-up consists, take long, so that a server which measures its model knows it for a slow one.
    """

    HELD = bytes([1]) * 784  # one image that waits

    def __init__(self, directory: Path) -> None:
        self.models = directory / "models"
        self._gate = directory / "gate"
        os.mkfifo(self._gate)
        self._publish()

    @contextmanager
    def open(self) -> Iterator[None]:
        """What waits in the model is answered meanwhile."""
        # Opening a named pipe for writing waits until something reads from it.
        reader = os.open(self._gate, os.O_RDONLY | os.O_NONBLOCK)
        try:
            yield
        finally:
            os.close(reader)

    def _publish(self) -> None:
        import tensorflow as tf

        @tf.function(input_signature=[tf.TensorSpec((None, 28, 28, 1), tf.float32, name="images")])
        def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
            held = tf.reduce_any(images[:, 0, 0, 0] == 1)
            written = tf.io.write_file(tf.where(held, str(self._gate), os.devnull), ".")
            steps = tf.where(tf.reduce_min(images[0]) == 255, BRIGHT_STEPS, 0)
            square = tf.zeros((256, 256))
            _, nothing = tf.while_loop(lambda n, _: n < steps, lambda n, x: (n + 1, x @ square), (0, square))
            with tf.control_dependencies([written]):
                logits = tf.reshape(images / 255, (-1, 784))[:, : len(CLASSES)] + nothing[0, 0]
            return {"probabilities": tf.nn.softmax(logits)}

        store = ModelStore(self.models, "fashion_mnist")
        with store.stage() as staged:
            tf.saved_model.save(tf.Module(), str(staged), signatures={"serving_default": serve})
            store.publish(staged, make_card())
