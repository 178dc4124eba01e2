"""Why an image file is not decoded. The messages lack their subject, the file's name, which the caller puts first."""

TAKEN = "PNG, JPEG, GIF, BMP, WebP or TIFF"


class ImageFileError(ValueError):
    """The file is broken, or of a format or variety that is not read."""


class CostlyFileError(ImageFileError):
    """The file has more scans, chunks or the like than encoders write."""


def broken(content: bytes, kind: str, reason: str = "") -> ImageFileError:
    """The error for a file of the format `kind` that cannot be decoded."""
    why = f" ({reason})" if reason else ""
    return ImageFileError(f"must be a {TAKEN} image. Received: {len(content)} bytes of {kind}, broken or cut off{why}.")


def at_most(most: int, count: int, what: str) -> None:
    """Raise CostlyFileError where a file has more than `most` of something."""
    if count > most:
        raise CostlyFileError(f"must have at most {most} {what}. Received: {count} or more.")


def one_of(compressions: set[int], found: int, kind: str) -> None:
    """Raise ImageFileError for a compression that is not among those read of the format `kind`."""
    if found not in compressions:
        listed = ", ".join(map(str, sorted(compressions)))
        raise ImageFileError(f"must have one of {kind}'s compressions {listed}. Received: {found}.")
