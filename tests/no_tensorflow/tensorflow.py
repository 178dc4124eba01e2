"""Found before TensorFlow on PYTHONPATH where the light tests run: neither they nor what they start can import it."""

raise ImportError(
    "A light test imports TensorFlow. Mark it with pytest.mark.tensorflow, or all of its file with "
    "`pytestmark = pytest.mark.tensorflow`."
)
