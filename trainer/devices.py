"""Where a run computes, and in which precision: on one device, on several of this host, or on several hosts.

TensorFlow spreads a batch over the GPUs of one host (MirroredStrategy). JAX (KERAS_BACKEND=jax) does so over hosts
too, each a process that is started with the same command and Keras's own variables:
KERAS_DISTRIBUTION_JOB_ADDRESSES (host:port of the first, or of all, with commas), KERAS_DISTRIBUTION_NUM_PROCESSES
and KERAS_DISTRIBUTION_PROCESS_ID. The first one evaluates and pushes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"


@dataclass(frozen=True)
class Devices:
    """What a run computes on.

    Attributes:
        count: devices that share each batch, over all processes.
        process, processes: which process of how many this is; more than one with the JAX backend only.
    """

    count: int = 1
    process: int = 0
    processes: int = 1

    @property
    def mirrored(self) -> bool:
        return self.count > 1 and keras.backend.backend() == "tensorflow"

    @property
    def shares(self) -> int:
        """How many equal shares a batch must have, because JAX gives one to each device."""
        return self.count if keras.backend.backend() == "jax" else 1

    @property
    def is_leader(self) -> bool:
        """Whether this process is the one that keeps, evaluates and pushes what was learned."""
        return self.process == 0


ONE = Devices()


def start() -> Devices:
    """Joins the other processes, if there are any, and finds the devices that this one may use.

    Raises:
        ValueError: several hosts were asked for that this backend cannot use.
    """
    several = [name for name in (ADDRESSES, "TF_CONFIG") if os.environ.get(name)]
    if keras.backend.backend() == "jax":
        return _start_jax(joins=ADDRESSES in several)
    if several:
        raise ValueError(
            f"{several[0]} asks for several hosts, which needs KERAS_BACKEND=jax: TensorFlow's "
            "MultiWorkerMirroredStrategy does not work with Keras 3's fit (keras-team/keras#20585)."
        )
    return Devices(len(_logical()))


@contextmanager
def placed(devices: Devices) -> Iterator[None]:
    """Within it, models are built for all devices."""
    if not devices.mirrored:
        yield
        return
    with tf.distribute.MirroredStrategy(_logical()).scope():
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Within it, models are built for this process's own first device, whatever the others do."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        yield
        return
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


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


def _start_jax(joins: bool) -> Devices:
    import jax

    if joins:
        # Without it, processes on CPUs cannot sum their gradients; GPUs have their own way.
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        keras.distribution.initialize()
    count = jax.device_count()
    if count > 1:
        # Each process reads the same data and takes its own slice of every batch.
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return Devices(count, jax.process_index(), jax.process_count())


def _logical() -> list[Any]:
    """TensorFlow's devices to compute on: GPUs where there are some, else CPUs."""
    names = [device.name for device in tf.config.list_logical_devices("GPU")]
    return names or [device.name for device in tf.config.list_logical_devices("CPU")]


def _capabilities() -> list[tuple[int, int]]:
    """The compute capability of each GPU, (0, 0) of one that has none."""
    if keras.backend.backend() == "jax":
        import jax

        texts = [getattr(device, "compute_capability", "0.0") for device in jax.devices() if device.platform == "gpu"]
        return [(int(major), int(minor)) for major, minor in (text.split(".") for text in texts)]
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [each.get("compute_capability", (0, 0)) for each in details]
