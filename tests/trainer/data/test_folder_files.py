"""The pictures of a folder are found by class and split, and what is left out is counted and named."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.folders import draw, folder_of, sizes
from trainer.data import checks
from trainer.data.checks import AnomalyError
from trainer.data.dataset import DataError
from trainer.data.load import load


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_splits_of_its_own_are_kept(tmp_path: Path, data: Path, validation: str) -> None:
    folder = folder_of(tmp_path / "pets", "train", "test", count=5)
    train, validating, testing = sizes(load(f"folder:{folder}", data))
    assert (train + validating, testing) == (10, 10)
    assert validating >= 2
    folder_of(folder, validation, count=3)
    assert sizes(load(f"folder:{folder}", data)) == [10, 6, 10]


@pytest.mark.parametrize(
    "names", [("Training", "Testing"), ("train", "test", "valid"), ("TRAIN", "Test", "Val"), ("training", "validation")]
)
def test_splits_are_known_by_the_names_that_people_give_them(
    names: tuple[str, ...], tmp_path: Path, data: Path
) -> None:
    dataset = load(f"folder:{folder_of(tmp_path / 'pets', *names)}", data)
    assert dataset.classes == ("cat", "dog")
    assert sum(sizes(dataset)) == 20 * len(names)


@pytest.mark.parametrize("names", [("train", "Training"), ("test", "val"), ("train", "test", "extra")])
def test_splits_whose_names_are_ambiguous_are_refused_with_the_three_names(
    names: tuple[str, ...], tmp_path: Path, data: Path
) -> None:
    folder = folder_of(tmp_path / "pets", *names)
    with pytest.raises(DataError, match=rf"train, test and validation .*; found {', '.join(sorted(names))}\."):
        load(f"folder:{folder}", data)


def test_a_class_may_be_called_as_a_split(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "vehicles")
    (folder / "cat").rename(folder / "train")
    assert load(f"folder:{folder}", data).classes == ("dog", "train")


def test_class_names_have_one_spelling_in_all_splits(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "places", "train", "test")
    composed, decomposed = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
    (folder / "train" / "cat").rename(folder / "train" / composed)
    (folder / "test" / "cat").rename(folder / "test" / decomposed)
    for split in ("train", "test"):  # sorts between the two spellings
        (folder / split / "dog").rename(folder / split / "cafx")
    dataset = load(f"folder:{folder}", data)
    assert dataset.classes == ("cafx", composed)
    for split in (dataset.train, dataset.test):
        assert {int(label) for label in split.labels} == {0, 1}
    with Image.open(folder / "test" / "cafx" / "0.png") as image:
        shown = np.asarray(image)[..., None]
    (at,) = [place for place, each in enumerate(dataset.test.images) if (each == shown).all()]
    assert dataset.test.labels[at] == 0


def test_a_class_whose_name_is_not_utf_8_is_refused_and_named(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    (folder / "cat").rename(folder / os.fsdecode(b"caf\xe9"))
    expected = r"pets: expected the name of a class in UTF-8 and .*, found b'caf\\xe9'\. Rename the folder\."
    with pytest.raises(DataError, match=expected) as refused:
        load(f"folder:{folder}", data)
    str(refused.value).encode()


def test_a_class_whose_name_has_a_line_break_is_refused_in_one_line(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    (folder / "cat").rename(folder / "cat\ntail")
    with pytest.raises(DataError, match=r"without line breaks .*, found b'cat\\ntail'") as refused:
        load(f"folder:{folder}", data)
    assert "\n" not in str(refused.value)


def test_a_file_whose_name_is_not_utf_8_is_taken_or_named(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    (folder / "cat" / "0.png").rename(folder / "cat" / os.fsdecode(b"caf\xe9.png"))
    (folder / "dog" / "0.png").rename(folder / "dog" / os.fsdecode(b"\xff.png"))
    (folder / "dog" / os.fsdecode(b"\xff.png")).write_bytes(b"torn")
    dataset = load(f"folder:{folder}", data)
    assert sum(sizes(dataset)) == 19
    (message,) = dataset.left_out
    assert r"dog/\udcff.png must be a" in message
    message.encode()


def test_what_is_no_picture_is_passed_over(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    (folder / "README.md").write_text("Our pets.")
    (folder / "cat" / ".hidden.png").write_text("x")
    (folder / "cat" / "notes.txt").write_text("x")
    dataset = load(f"folder:{folder}", data)
    assert (sum(sizes(dataset)), dataset.left_out) == (20, ())


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path, data: Path) -> None:
    def refused(folder: Path, reason: str) -> None:
        with pytest.raises(DataError, match=reason):
            load(f"folder:{folder}", data)

    refused(tmp_path / "nowhere", "expected a folder of pictures")
    folder = folder_of(tmp_path / "pets")
    shutil.rmtree(folder / "dog")
    refused(folder, "at least two classes, found cat")
    (folder / "dog").mkdir()
    refused(folder, "found none of dog")
    draw(folder / "dog" / "0.png")
    refused(folder, "at least 3 pictures of dog")
    folder = folder_of(tmp_path / "split", "train", "test")
    (folder / "test" / "cat").rename(folder / "test" / "cow")
    refused(folder, "cat, cow are in one of the two only")
    (folder / "extra").mkdir()
    refused(folder, "found extra, test, train")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("suffix", ["", ".jpg"])
def test_every_common_format_is_read_whatever_the_file_is_called(
    kind: str, suffix: str, tmp_path: Path, data: Path
) -> None:
    folder = folder_of(tmp_path / "pets")
    Image.new("RGB", (24, 20), (200, 0, 0)).save(folder / "cat" / f"other{suffix}", kind)
    dataset = load(f"folder:{folder}", data)
    assert (sum(sizes(dataset)), dataset.left_out) == (21, ())


def test_pictures_that_are_not_read_are_counted_and_named(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    draw(folder / "stray.png")
    draw(folder / "cat" / "2024" / "may" / "deep.png")
    for number in range(3):
        (folder / "dog" / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic")
    dataset = load(f"folder:{folder}", data)
    assert sum(sizes(dataset)) == 20
    assert dataset.left_out == (
        f"Left out: 2 pictures not directly in PATH/<class>/, such as {folder}/cat/2024/may/deep.png.",
        "Left out: 3 pictures in the format .heic, where only PNG, JPEG, GIF, BMP, WebP or TIFF are read, "
        f"such as {folder}/dog/0.heic.",
    )
    draw(folder / "train" / "deeper.png")
    (folder / "train").rename(folder / "cat" / "train")
    assert "3 pictures" in load(f"folder:{folder}", data).left_out[0]


def test_links_to_pictures_that_are_not_there_are_counted_and_named(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    for name in ("10.png", "11.jpg", "notes.txt"):
        (folder / "cat" / name).symlink_to("../../not-fetched")
    os.mkfifo(folder / "dog" / "pipe")
    dataset = load(f"folder:{folder}", data)
    assert sum(sizes(dataset)) == 20
    assert dataset.left_out == (
        f"Left out: 2 pictures that are no files, or links that lead nowhere, such as {folder}/cat/10.png.",
    )


def test_pictures_in_deeper_folders_stop_the_run_with_their_number(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets", "train", "test")
    folder_of(folder / "train" / "cat", count=3)
    with pytest.raises(
        AnomalyError, match=r"Left out: 6 pictures not directly in PATH/<split>/<class>/, such as .*cat/0\.png"
    ):
        checks.inspect(load(f"folder:{folder}", data))
