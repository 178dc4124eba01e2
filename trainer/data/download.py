"""TFDS's own download. Its host is asked first: TFDS retries for minutes before it gives up on one."""

from __future__ import annotations

import tempfile
import urllib.error
import urllib.request
from typing import Any

from trainer.data.dataset import DataError

CONNECT_SECONDS = 5


def prepare(builder: Any) -> str:
    """Lets TFDS download and prepare a set; returns the source's name.

    Raises:
        DataError: it cannot be had from here.
    """
    for url in list(builder.url_infos or ())[:1]:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the address is TFDS's own
            urllib.request.urlopen(request, timeout=CONNECT_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError:
            pass  # it answers, if not to this question
        except OSError as error:
            raise DataError(f"TFDS's download: {url} ({getattr(error, 'reason', error)})") from error
    print(f"Downloading {builder.info.full_name} with TensorFlow Datasets.", flush=True)
    root = builder.data_path.parent.parent
    root.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="tfds-", dir=root) as downloads:
            builder.download_and_prepare(download_dir=downloads)
    except Exception as error:  # a builder raises what it likes: network, disk, checksums, missing packages
        reason = " ".join(str(error).split())
        raise DataError(f"TFDS could not prepare {builder.info.full_name}: {type(error).__name__}: {reason}") from error
    return "TensorFlow Datasets' download"
