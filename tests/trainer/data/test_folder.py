"""A folder of a user's own pictures becomes a data set, the same until a picture changes."""

import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.folders import CHANCE, draw, folder_of, pixels, sizes
from trainer.data import folder as folder_reader
from trainer.data.dataset import DataError
from trainer.data.load import load


def test_about_a_fifth_of_each_class_tests_and_of_the_rest_validates(tmp_path: Path, data: Path) -> None:
    dataset = load(f"folder:{folder_of(tmp_path / 'pets', count=200, size=(4, 5))}", data)
    assert (dataset.name, dataset.classes, dataset.shape) == ("pets", ("cat", "dog"), (4, 5, 1))
    counts = {name: np.bincount(split.labels) for name, split in dataset.splits.items()}
    assert sum(counts.values()).tolist() == [200, 200]
    assert (np.abs(counts["test"] - 40) < 16).all()
    assert (np.abs(counts["validation"] - 32) < 16).all()


@pytest.mark.parametrize("count", [3, 4, 5])
def test_a_class_of_a_few_pictures_has_one_in_every_split(count: int, tmp_path: Path, data: Path) -> None:
    for seed in range(10):
        dataset = load(f"folder:{folder_of(tmp_path / str(seed) / 'pets', count=count)}", data, split_seed=seed)
        assert all(min(np.bincount(split.labels, minlength=2)) >= 1 for split in dataset.splits.values())
        assert sum(sizes(dataset)) == 2 * count


def test_pictures_that_are_added_or_removed_move_no_other_to_another_split(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets", count=50, size=(4, 5))
    before = load(f"folder:{folder}", data)
    for number in range(40):
        draw(folder / "cat" / f"new-{number}.png", size=(4, 5))
    (folder / "dog" / "7.png").unlink()
    draw(folder / "ant" / "0.png", size=(4, 5)), draw(folder / "ant" / "1.png", size=(4, 5))
    draw(folder / "ant" / "2.png", size=(4, 5))
    after = load(f"folder:{folder}", data)
    for split, other in itertools.permutations(("train", "validation", "test"), 2):
        assert not pixels(before.splits[split]) & pixels(after.splits[other])
    moved = tmp_path / "elsewhere" / "animals"
    shutil.copytree(folder, moved)
    assert load(f"folder:{moved}", data).sha256 == after.sha256


def test_the_split_s_seed_alone_decides_who_tests(tmp_path: Path, data: Path) -> None:
    name = f"folder:{folder_of(tmp_path / 'pets')}"
    first, again, other = (load(name, data / str(at), split_seed=seed) for at, seed in enumerate((0, 0, 1)))
    assert first.sha256 == again.sha256 != other.sha256
    pixels = sorted(image.tobytes() for split in first.splits.values() for image in split.images)
    assert pixels == sorted(image.tobytes() for split in other.splits.values() for image in split.images)


def test_decoded_copies_of_earlier_states_are_removed(tmp_path: Path, data: Path) -> None:
    folder, other = folder_of(tmp_path / "pets"), folder_of(tmp_path / "others" / "pets")
    load(f"folder:{other}", data)
    load(f"folder:{folder}", data)
    load(f"folder:{folder}", data, image_size=8)
    assert len(list((data / "decoded").iterdir())) == 3
    (folder / "cat" / "0.png").chmod(0o600)
    load(f"folder:{folder}", data)
    assert len(list((data / "decoded").iterdir())) == 2


def test_a_folder_that_is_spelled_otherwise_is_not_decoded_again(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "pets")
    (tmp_path / "link").symlink_to(folder)
    load(f"folder:{folder}", data)
    assert "Decoding the pictures" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    for spelling in ("pets", "./pets/", "link", "pets/../pets"):
        load(f"folder:{spelling}", data)
    assert capsys.readouterr().out == ""


def test_a_folder_in_the_home_is_found(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path / "pets")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("folder:~/pets", data).name == "pets"
    monkeypatch.chdir(tmp_path / "pets")
    assert load("folder:.", data).name == "pets"


def test_pictures_that_change_or_go_while_they_are_decoded_are_decoded_anew_or_named(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "pets")
    reading = folder_reader.read

    def changing(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
        if path.name == "1.png":
            path.unlink()
        if path.name == "2.png":
            draw(path)
        return reading(path, shape)

    with monkeypatch.context() as patch:
        patch.setattr(folder_reader, "read", changing)
        first = load(f"folder:{folder}", data)
    assert sum("1.png must be a" in each for each in first.left_out) == 2
    second = load(f"folder:{folder}", data)
    assert (sum(sizes(second)), second.left_out) == (18, ())


def test_pictures_of_several_sizes_and_colours_become_one_shape(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    draw(folder / "cat" / "wide.JPG", size=(100, 300), mode="RGB")
    assert load(f"folder:{folder}", data).shape == (64, 64, 3)
    assert load(f"folder:{folder}", data, image_size=32).shape == (32, 32, 3)


def test_large_pictures_are_made_small(tmp_path: Path, data: Path) -> None:
    assert load(f"folder:{folder_of(tmp_path / 'pets', size=(200, 200))}", data).shape == (64, 64, 1)


def test_pictures_are_decoded_once_until_one_changes(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "pets")
    before = load(f"folder:{folder}", data).sha256
    assert "happens once" in capsys.readouterr().out
    assert load(f"folder:{folder}", data).sha256 == before
    assert capsys.readouterr().out == ""
    draw(folder / "cat" / "0.png")
    os.utime(folder / "cat" / "0.png", ns=(1, 1))
    assert load(f"folder:{folder}", data).sha256 != before


def test_a_picture_that_changes_but_for_its_size_and_time_is_decoded_anew(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    path = folder / "cat" / "0.bmp"
    Image.new("L", (24, 20), 10).save(path)
    stat, before = path.stat(), load(f"folder:{folder}", data).sha256
    Image.new("L", (24, 20), 20).save(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    assert load(f"folder:{folder}", data).sha256 != before


def test_a_broken_picture_is_named_and_left_out(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    (folder / "cat" / "torn.png").write_bytes((folder / "cat" / "0.png").read_bytes()[:100])
    (folder / "dog" / "text.jpg").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    dataset = load(f"folder:{folder}", data)
    assert sum(sizes(dataset)) == 20
    assert len(dataset.left_out) == 2
    assert "object at 0x" not in str(dataset.left_out)
    for name in ("torn.png", "text.jpg"):
        assert any(f"{name} must be a PNG, JPEG, GIF, BMP, WebP or TIFF image" in each for each in dataset.left_out)


def test_a_class_whose_pictures_are_all_broken_is_named_with_one_of_them(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    for path in folder.glob("cat/*.png"):
        path.write_bytes(b"torn")
    with pytest.raises(DataError, match=r"at least two classes, found dog\. .*cat/\d\.png must be a PNG"):
        load(f"folder:{folder}", data)


def test_a_folder_of_broken_pictures_alone_names_one(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"torn")
    with pytest.raises(DataError, match=r"found 0, 0 and 0 .*\.png must be a PNG, JPEG, GIF, BMP, WebP or TIFF image"):
        load(f"folder:{folder}", data)


def test_the_frame_of_pictures_that_were_held_on_their_side_is_upright(tmp_path: Path, data: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("cat", "dog"):
        for number in range(10):
            path = tmp_path / "pets" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(CHANCE.integers(0, 256, (40, 60), dtype=np.uint8)).save(path, exif=exif)
    assert load(f"folder:{tmp_path / 'pets'}", data).shape == (60, 40, 1)
