"""One rule for the names of models and searches, in any script."""

from collections.abc import Callable
from pathlib import Path

import pytest

from registry.models import models
from registry.names import is_name, name_from
from registry.store import ModelStore, RegistryError

COMPOSED, DECOMPOSED = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"


@pytest.mark.parametrize(
    "name", ["fashion_mnist", "花", "собаки", "हिन्दी", "ไทย", "٣", COMPOSED, "_", "a.b-c", "字" * 66]
)
def test_letters_and_digits_of_every_script_make_a_name(name: str) -> None:
    assert is_name(name)
    assert name == "_" or name_from(name) == name


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", ".hidden", "-x", "a/b", "a b", "a\nb", 'a"b', "a\\b", "a\0", "a\udce9", DECOMPOSED, "字" * 67],
)
def test_what_a_path_a_url_or_a_label_cannot_hold_is_no_name(text: str) -> None:
    assert not is_name(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("our own set", "our_own_set"),
        ("  pets (2024) ", "pets_2024"),
        ("../pets", "_pets"),
        (".pets", "pets"),
        ("a\udce9b", "a_b"),  # a file name that is not UTF-8, as Python has it
        ("emnist/letters", "emnist_letters"),
        (DECOMPOSED, COMPOSED),
        ("\N{DOG}", None),
        ("..", None),
        ("___", None),
        ("字" * 67, None),
    ],
)
def test_a_text_becomes_a_name_as_far_as_the_rule_lets_it(text: str, name: str | None) -> None:
    assert name_from(text) == name


def test_models_are_told_apart_in_every_script_and_their_names_have_one_spelling(
    tmp_path: Path, publish: Callable[..., int]
) -> None:
    for name in ("花", "犬", DECOMPOSED):
        publish(ModelStore(tmp_path, name), name=COMPOSED if name == DECOMPOSED else name)
    assert models(tmp_path) == sorted(["花", "犬", COMPOSED])
    assert ModelStore(tmp_path, COMPOSED).versions() == ModelStore(tmp_path, DECOMPOSED).versions() == [1]
    assert ModelStore(tmp_path, "花").card(1).name == "花"
    assert ModelStore(tmp_path, "花").prune(keep=1) == []


def test_a_store_refuses_what_is_no_name_and_says_the_rule(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"must be of letters and digits of any script, .* Received: 'a b'\."):
        ModelStore(tmp_path, "a b")
