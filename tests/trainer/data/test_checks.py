"""Before training, a data set is held against what it should be."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from trainer.data import checks
from trainer.data.checks import AnomalyError, Schema
from trainer.data.dataset import DataError, ImageDataset, Split


def said(dataset: ImageDataset, wanted: Schema = Schema()) -> list[str]:  # noqa: B008  - frozen
    return checks.anomalies(dataset, checks.statistics(dataset), wanted)


def test_the_statistics_are_those_of_the_pixels(sample: ImageDataset) -> None:
    found = checks.statistics(sample).splits["train"]
    pixels = sample.train.images.astype(np.float64)
    assert (found.mean, found.deviation) == pytest.approx((pixels.mean(), pixels.std()), abs=1e-4)
    assert (found.images, found.lowest, found.highest) == (400, 0, 255)
    assert found.classes["Shirt"] == int((sample.train.labels == 6).sum())


def test_the_sample_is_as_it_should_be(sample: ImageDataset) -> None:
    assert said(sample) == []


def test_repeated_images_are_found_within_and_across_splits(sample: ImageDataset) -> None:
    images, labels = sample.train.images.copy(), sample.train.labels
    images[:100] = images[100:200]
    test = Split(np.concatenate([sample.test.images[10:], images[300:310]]), sample.test.labels)
    found = said(replace(sample, train=Split(images, labels), test=test))
    assert found == [
        "Expected at most 40 train images that equal another, found 100 of 400.",
        "Expected at most 2 test images that are among the train images too, found 10 of 200.",
    ]


def test_an_image_that_another_split_has_counts_as_often_as_it_occurs(sample: ImageDataset) -> None:
    images = np.array(sample.test.images)
    images[:3] = sample.train.images[0]
    found = checks.statistics(replace(sample, test=Split(images, sample.test.labels)))
    assert found.shared["train/test"] == 3


def test_the_share_of_repeated_images_that_is_allowed_is_no_anomaly(sample: ImageDataset) -> None:
    images = np.array(sample.test.images)
    images[:20] = images[20:40]
    repeated = replace(sample, test=Split(images, sample.test.labels))
    assert said(repeated, Schema(duplicates=20 / 200)) == []
    (found,) = said(repeated, Schema(duplicates=19 / 200))
    assert found == "Expected at most 19 test images that equal another, found 20 of 200."


def test_a_class_that_hardly_occurs_is_named(sample: ImageDataset) -> None:
    labels = np.where(sample.test.labels == 4, 3, sample.test.labels)
    (found,) = said(replace(sample, test=Split(sample.test.images, labels)))
    assert found == "Expected at least 1 test images of each class, found 0 of Coat: add more."


def test_blank_images_are_noticed(sample: ImageDataset) -> None:
    blank = Split(np.zeros_like(sample.test.images), sample.test.labels)
    assert any("every pixel to be 0" in each for each in said(replace(sample, test=blank)))


def test_what_a_schema_names_must_be_so(sample: ImageDataset) -> None:
    wanted = Schema(shape=(32, 32, 3), classes=("a", "b"), images={"test": 10}, range=(0, 200))
    found = "\n".join(said(sample, wanted))
    for expected in ("shape (32, 32, 3), found (28, 28, 1)", "('a', 'b')", "10 test images, found 200", "0 to 200"):
        assert expected in found


def test_the_schema_of_a_run_is_fulfilled_by_its_data(sample: ImageDataset, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(asdict(checks.fulfilled_by(sample, checks.statistics(sample)))))
    assert said(sample, checks.schema_for(replace(sample, schema=path))) == []


@pytest.mark.parametrize(
    "content",
    [
        '{"colour": "blue"}',
        "[1]",
        "null",
        "{",
        '{"range": 5}',
        '{"range": [0]}',
        '{"range": [0, true]}',
        '{"classes": "ab"}',
        '{"images": 5}',
        '{"shared": "a"}',
        '{"images": {"dev": 5}}',
    ],
)
def test_a_file_that_is_no_schema_is_refused(content: str, sample: ImageDataset, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"schema\.json: expected a JSON object with some of dtype, shape"):
        checks.schema_for(replace(sample, schema=path))


def test_an_anomaly_stops_unless_it_is_allowed(sample: ImageDataset, capsys: pytest.CaptureFixture[str]) -> None:
    broken = replace(sample, left_out=tuple(f"{number}.png: broken" for number in range(7)))
    with pytest.raises(AnomalyError, match=r"0\.png: broken(?s:.*)and 2 more(?s:.*)--allow-anomalies"):
        checks.inspect(broken)
    assert len(checks.inspect(broken, allow_anomalies=True).anomalies) == 6
    assert "Allowed: 0.png: broken" in capsys.readouterr().out


def test_a_name_that_a_schema_does_not_have_is_named(sample: ImageDataset, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text('{"colour": null, "range": [0, 255]}')
    with pytest.raises(DataError, match=r"with some of dtype, .*, shared \(Received: colour\)\.$"):
        checks.schema_for(replace(sample, schema=path))
