"""Mixed precision: which policy a run computes in, given what the device can do."""

from __future__ import annotations

import keras
import tensorflow as tf


def resolved(precision: str) -> str:
    """The Keras dtype policy that a config's precision means on this machine.

    `auto` is `mixed_float16` where every GPU has compute capability 7 (tensor cores) or more, `float32` elsewhere.

    Raises:
        ValueError: the device lacks it.
    """
    capabilities = _capabilities()
    tensor_cores = bool(capabilities) and min(capabilities) >= (7, 0)
    if precision == "auto":
        return "mixed_float16" if tensor_cores else "float32"
    if precision == "mixed_float16" and not tensor_cores:
        device = f"a GPU of compute capability {min(capabilities)}" if capabilities else "a CPU"
        raise ValueError(
            "`precision` mixed_float16 needs a GPU of compute capability 7.0 or more. "
            f"This machine has {device}: use float32, or mixed_bfloat16 on a CPU with AVX512-BF16."
        )
    return precision


def _capabilities() -> list[tuple[int, int]]:
    """The compute capability of each GPU, (0, 0) of one that has none."""
    if keras.backend.backend() == "jax":
        import jax

        texts = [getattr(device, "compute_capability", "0.0") for device in jax.devices() if device.platform == "gpu"]
        return [(int(major), int(minor)) for major, minor in (text.split(".") for text in texts)]
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [each.get("compute_capability", (0, 0)) for each in details]
