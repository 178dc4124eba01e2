"""A folder of a user's own pictures becomes a data set, or one line says what is wrong with it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer import schema
from trainer.data import ImageDataset, load
from trainer.idx import DataError
from trainer.schema import AnomalyError

CHANCE = np.random.default_rng(0)


def draw(path: Path, size: tuple[int, int] = (20, 24), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if mode == "RGB" else size
    Image.fromarray(CHANCE.integers(0, 256, shape, dtype=np.uint8)).save(path)


def folder_of(root: Path, *splits: str, count: int = 10, **options: object) -> Path:
    for split in splits or ("",):
        for name in ("cat", "dog"):
            for number in range(count):
                draw(root / split / name / f"{number}.png", **options)
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def sizes(dataset: ImageDataset) -> list[int]:
    return [len(split) for split in dataset.splits.values()]


def test_each_class_is_shared_out_alike(tmp_path: Path, data: Path) -> None:
    dataset = load(f"folder:{folder_of(tmp_path / 'pets', count=25)}", data)
    assert (dataset.name, dataset.classes, dataset.shape) == ("pets", ("cat", "dog"), (20, 24, 1))
    assert sizes(dataset) == [32, 8, 10]
    assert [np.bincount(split.labels).tolist() for split in dataset.splits.values()] == [[16, 16], [4, 4], [5, 5]]


def test_the_split_s_seed_alone_decides_who_tests(tmp_path: Path, data: Path) -> None:
    name = f"folder:{folder_of(tmp_path / 'pets')}"
    first, again, other = (load(name, data / str(at), split_seed=seed) for at, seed in enumerate((0, 0, 1)))
    assert first.sha256 == again.sha256 != other.sha256
    pixels = sorted(image.tobytes() for split in first.splits.values() for image in split.images)
    assert pixels == sorted(image.tobytes() for split in other.splits.values() for image in split.images)


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_splits_of_its_own_are_kept(tmp_path: Path, data: Path, validation: str) -> None:
    folder = folder_of(tmp_path / "pets", "train", "test", count=5)
    assert sizes(load(f"folder:{folder}", data)) == [8, 2, 10]
    folder_of(folder, validation, count=3)
    assert sizes(load(f"folder:{folder}", data)) == [10, 6, 10]


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


def test_a_broken_picture_is_named_and_left_out(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    (folder / "cat" / "torn.png").write_bytes((folder / "cat" / "0.png").read_bytes()[:100])
    (folder / "dog" / "text.jpg").write_text("not a picture")
    dataset = load(f"folder:{folder}", data)
    assert sum(sizes(dataset)) == 20
    assert len(dataset.left_out) == 2
    for name in ("torn.png", "text.jpg"):
        assert any(
            f"{name}: expected a whole PNG, JPEG, GIF, BMP, WebP or TIFF picture" in each for each in dataset.left_out
        )


def test_a_folder_of_broken_pictures_alone_names_one(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets")
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"torn")
    with pytest.raises(
        DataError, match=r"found 0, 0 and 0 .*\.png: expected a whole PNG, JPEG, GIF, BMP, WebP or TIFF picture"
    ):
        load(f"folder:{folder}", data)


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
    refused(folder, "beside train, found extra")


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
        f"Left out as not in PATH/<class>/ itself: 2 pictures, such as {folder}/cat/2024/may/deep.png.",
        f"Left out as not PNG, JPEG, GIF, BMP, WebP or TIFF but .heic: 3 pictures, such as {folder}/dog/0.heic.",
    )
    draw(folder / "train" / "deeper.png")
    (folder / "train").rename(folder / "cat" / "train")
    assert "3 pictures" in load(f"folder:{folder}", data).left_out[0]


def test_pictures_in_deeper_folders_stop_the_run_with_their_number(tmp_path: Path, data: Path) -> None:
    folder = folder_of(tmp_path / "pets", "train", "test")
    folder_of(folder / "train" / "cat", count=3)
    with pytest.raises(AnomalyError, match=r"not in PATH/<split>/<class>/ itself: 6 pictures, such as .*cat/0\.png"):
        schema.inspect(load(f"folder:{folder}", data))


def test_the_frame_of_pictures_that_were_held_on_their_side_is_upright(tmp_path: Path, data: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("cat", "dog"):
        for number in range(10):
            path = tmp_path / "pets" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(CHANCE.integers(0, 256, (40, 60), dtype=np.uint8)).save(path, exif=exif)
    assert load(f"folder:{tmp_path / 'pets'}", data).shape == (60, 40, 1)
