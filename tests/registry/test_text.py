"""Text that the commands share."""

import pytest

from registry.text import first_line


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("no  such\tlayer\nat line 3", "no such layer"),
        ("Error when deserializing. Exception encountered: bad shape", "bad shape"),
        ("", "ValueError"),
        ("a" * 200, "a" * 200),
        ("a" * 300, "a" * 197 + "..."),  # one word
    ],
)
def test_an_error_is_its_first_line_of_at_most_200_characters(message: str, expected: str) -> None:
    assert first_line(ValueError(message)) == expected
