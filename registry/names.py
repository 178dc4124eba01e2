"""The rule for names of models and of searches, which become directories, parts of URLs and metrics labels.

A name is of letters, digits and combining marks of any script, `_`, `.` and `-`, and begins with none of the last two.
"""

import unicodedata

RULE = (
    "must be of letters and digits of any script, '_', '.' and '-', not begin with '.' or '-', and be of at most "
    "200 bytes in UTF-8"
)
LARGEST = 200  # bytes: file systems allow 255, and the lock of a model has a suffix


def normalized(name: str) -> str:
    """The one spelling of a name: `é` may be written as one character or as `e` with an accent."""
    return unicodedata.normalize("NFC", name)


def is_name(name: str) -> bool:
    """Whether the text is a name, in its normalized spelling."""
    return (
        bool(name)
        and name[0] not in ".-"
        and all(map(_allowed, name))
        and name == normalized(name)
        and len(name.encode()) <= LARGEST
    )


def name_from(text: str) -> str | None:
    """A name for a text such as a folder's: what is not allowed becomes `_`; None where nothing of it is left."""
    kept = "".join(character if _allowed(character) else " " for character in normalized(text))
    name = "_".join(kept.split()).lstrip(".-")
    return name if name.strip("_.-") and is_name(name) else None


def _allowed(character: str) -> bool:
    # The first letter of a category: letters (L), marks (M), numbers (N).
    return character in "_.-" or unicodedata.category(character)[0] in "LMN"
