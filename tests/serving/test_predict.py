"""`python -m serving.predict` writes what POST /predict answers, without a server, whatever interrupts it."""

import csv
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from registry.store import ModelStore
from serving import predict
from serving.model.served import Predictor, Served
from serving.settings import Settings
from tests.conftest import ROOT, SAMPLE
from tests.serving.bridged import BridgeClient, bridged
from tests.serving.conftest import make_card
from tests.serving.photographs import photograph

DEADLINE = 300.0  # seconds
IDX = SAMPLE / "t10k-images-idx3-ubyte.gz"
SAMPLES = ROOT / "serving" / "samples"


@pytest.fixture(scope="module")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models directory of a version that scores images and preprocesses photographs."""
    root = tmp_path_factory.mktemp("scoring")
    store, chance = ModelStore(root, "fashion_mnist"), np.random.default_rng(0)
    with store.stage() as staged:
        ignore = shutil.ignore_patterns("model_card.json")
        shutil.copytree(models / "fashion_mnist" / "1", staged, dirs_exist_ok=True, ignore=ignore)
        shapes = {"rows": (7, 28), "columns": (28, 7), "whiten": (49, 5), "centers": (3, 5)}
        arrays = {name: chance.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
        np.savez(staged / "assets.extra" / "familiar.npz", **arrays, threshold=np.float64(40_000))
        store.publish(staged, replace(make_card(), data={"look": {"side": 28}}))
    return root


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "serving.predict", *map(str, arguments)]


def environment(models: Path, runtime: str = "litert") -> dict[str, str]:
    return os.environ | {"MODELS": str(models), "RUNTIME": runtime, "XLA": "0", "PYTHONPATH": str(ROOT)}


def run(models: Path, *arguments: object, runtime: str = "litert") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), env=environment(models, runtime), capture_output=True, text=True, timeout=DEADLINE
    )


def said(stderr: str) -> str:
    """What the command wrote, without the remarks of LiteRT."""
    return "".join(line for line in stderr.splitlines(keepends=True) if not line.startswith("INFO: "))


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def turned_jpeg() -> bytes:
    """A photograph that lies on its side, and whose EXIF data says so."""
    picture = Image.open(io.BytesIO(photograph(np.asarray(Image.open(SAMPLES / "ankle-boot.png")), seed=1)))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    picture.save(content, "JPEG", exif=exif)
    return content.getvalue()


def posted(client: BridgeClient, content: bytes, kind: str) -> list[dict[str, Any]]:
    reply = client.post("/predict", data=content, content_type=kind)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json["predictions"]
    return found


def assert_alike(rows: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]]) -> None:
    """A batch of another size may change the last bit of a number, and so its last decimal place."""
    assert len(rows) == len(answers)
    for row, answer in zip(rows, answers, strict=True):
        assert row.keys() - {"file"} == answer.keys() - {"file"}
        for key in ("label", "index", "in_distribution", "converted", "preprocessing"):
            assert row.get(key) == answer.get(key)
        assert row["probabilities"] == pytest.approx(answer["probabilities"], abs=2e-6)
        assert row["distribution_score"] == pytest.approx(answer["distribution_score"], abs=2e-3)


def predictor_of(runtime: str, version: Path) -> Predictor:
    if runtime == "litert":
        from serving.model.litert import LiteRTPredictor

        return LiteRTPredictor(version, 1)
    from serving.model.tensorflow import SavedModelPredictor

    return SavedModelPredictor(version, 1, xla=False)


@pytest.mark.parametrize("runtime", ["litert", "tensorflow"])
def test_rows_say_what_post_predict_answers(served: Path, tmp_path: Path, runtime: str) -> None:
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    shutil.copy(SAMPLES / "trouser.png", folder / "deeper" / "trouser.png")
    (folder / "boot.jpg").write_bytes(turned_jpeg())
    arrays = np.random.default_rng(1).integers(0, 256, (70, 28, 28), np.uint8)
    np.save(tmp_path / "noise.npy", arrays)
    out = tmp_path / "out.jsonl"
    done = run(served, folder, SAMPLES / "bag.png", IDX, tmp_path / "noise.npy", "--out", out, runtime=runtime)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Wrote 273 rows by version 1 of fashion_mnist to {out}.\n"

    client = bridged(Served(predictor_of(runtime, served / "fashion_mnist" / "1")), Settings(models=served))
    jpeg, trouser, bag, *pixels = rows_of(out)
    assert_alike([jpeg], posted(client, turned_jpeg(), "image/jpeg"))
    assert "light background" in jpeg["preprocessing"]
    assert_alike([trouser], posted(client, (SAMPLES / "trouser.png").read_bytes(), "image/png"))
    assert_alike([bag], posted(client, (SAMPLES / "bag.png").read_bytes(), "image/png"))
    images = gzip.decompress(IDX.read_bytes())[16:]
    assert_alike(pixels[:200], posted(client, images, "application/octet-stream"))
    assert_alike(pixels[200:], posted(client, arrays.tobytes(), "application/octet-stream"))
    assert len({row["in_distribution"] for row in pixels}) == 2
    names = [str(folder / "boot.jpg"), str(folder / "deeper" / "trouser.png"), str(SAMPLES / "bag.png"), f"{IDX}[0]"]
    assert [row["file"] for row in rows_of(out)][:4] == names


def test_a_table_has_a_column_for_each_class(served: Path, tmp_path: Path) -> None:
    done = run(served, SAMPLES / "bag.png", "--out", tmp_path / "a.csv")
    assert done.returncode == 0, done.stderr
    run(served, SAMPLES / "bag.png", "--out", tmp_path / "a.jsonl")
    with (tmp_path / "a.csv").open() as file:
        (row,) = csv.DictReader(file)
    (expected,) = rows_of(tmp_path / "a.jsonl")
    probabilities = expected["probabilities"]
    assert {name: float(row[f"probability of {name}"]) for name in probabilities} == probabilities
    assert (row["label"], float(row["probability"])) == (expected["label"], expected["probability"])
    assert float(row["distribution_score"]) == expected["distribution_score"]
    assert (row["file"], row["error"]) == (str(SAMPLES / "bag.png"), "")


def test_a_file_whose_name_is_no_text_has_a_row_like_others(served: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/boot-\xff.png"
    shutil.copy(SAMPLES / "ankle-boot.png", name)
    done = run(served, os.fsdecode(name), "--out", tmp_path / "rows.csv")
    assert done.returncode == 0, done.stderr
    assert rb"boot-\udcff.png" in (tmp_path / "rows.csv").read_bytes()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_continues_and_ends_as_an_unbroken_one(
    served: Path, tmp_path: Path, how: signal.Signals
) -> None:
    images = tmp_path / "images.npy"
    np.save(images, np.random.default_rng(2).integers(0, 256, (50_000, 28, 28), np.uint8))
    run(served, images, "--out", tmp_path / "unbroken.csv")
    out = tmp_path / "out.csv"
    rows = tmp_path / ".out.csv.fashion_mnist-1.unfinished"
    with subprocess.Popen(
        command(images, "--out", out), env=environment(served), stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (rows.exists() and rows.stat().st_size > 200_000):  # some batches
            time.sleep(0.005)
        process.send_signal(how)
        _, stderr = process.communicate(timeout=DEADLINE)
    assert not out.exists()
    assert rows.stat().st_size > 0
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert said(stderr) == "Interrupted. The same command continues from here.\n"
    os.truncate(rows, rows.stat().st_size - 1000)  # within a line, and within a batch
    array: NDArray[np.uint8] = np.load(images, mmap_mode="r+")
    array[0] = 0  # an image that has its row is not classified again
    array.flush()
    done = run(served, images, "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == (tmp_path / "unbroken.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.npy", "out.csv", "unbroken.csv"]


def test_what_was_left_of_other_paths_is_not_continued(served: Path, tmp_path: Path) -> None:
    rows = tmp_path / ".out.jsonl.fashion_mnist-1.unfinished"
    rows.write_text('{"file": "elsewhere.png", "error": "old"}\n')
    run(served, SAMPLES / "bag.png", "--out", tmp_path / "out.jsonl")
    assert [row["file"] for row in rows_of(tmp_path / "out.jsonl")] == [str(SAMPLES / "bag.png")]


def test_a_broken_file_is_named_in_its_row_and_the_others_are_classified(served: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    content = (SAMPLES / "bag.png").read_bytes()
    for name, what in {"a.png": content, "b.png": content[:100], "c.txt": b"words", "d.png": content}.items():
        (folder / name).write_bytes(what)
    done = run(served, folder, "--out", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    assert "Wrote 4 rows" in done.stdout
    assert "; 2 of them could not be read" in done.stdout
    good, broken, text, last = rows_of(tmp_path / "out.jsonl")
    assert (broken["file"], text["file"]) == (str(folder / "b.png"), str(folder / "c.txt"))
    assert broken["error"].startswith("b.png must be a PNG")
    assert text["error"].startswith("c.txt must be a PNG")
    assert good["probabilities"] == last["probabilities"]
    done = run(served, folder / "b.png", "--out", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    assert "b.png must be a PNG" in (tmp_path / "out.csv").read_text()


def test_a_file_beyond_the_limit_of_a_body_is_not_read(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_BODY_BYTES", "100")
    run(served, SAMPLES / "bag.png", "--out", tmp_path / "out.jsonl")
    (row,) = rows_of(tmp_path / "out.jsonl")
    assert row["error"].startswith("bag.png must have at most 100 bytes. Received: ")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.npy", np.zeros((2, 32, 32), np.uint8), "must hold uint8 images of 28 x 28 x 1. Received: uint8 of (2, 32,"),
        ("a.npy", np.zeros((2, 28, 28)), "must hold uint8 images of 28 x 28 x 1. Received: float64 of (2, 28, 28)."),
        ("a.npy", b"no array", "must be a whole .npy array, IDX file or image. Received: "),
        ("a.idx", b"\0\0\x08\x03" + bytes(9), "must be a whole .npy array, IDX file or image. Received: "),
        ("a.idx", b"\0\0\x08\x03\0\0\0\x01\0\0\0\x1c\0\0\0\x1c" + bytes(9), "must be a whole .npy array, IDX file"),
        ("a.gz", b"no gzip", "must be a whole .npy array, IDX file or image. Received: "),
    ],
)
def test_an_array_that_does_not_fit_is_refused_in_one_line(
    served: Path, tmp_path: Path, name: str, content: bytes | NDArray[Any], reason: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    done = run(served, path, "--out", tmp_path / "out.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert said(done.stderr).startswith(f"error: {path} {reason}")
    assert said(done.stderr).count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_folder_without_a_file_is_refused(served: Path, tmp_path: Path) -> None:
    done = run(served, tmp_path, "--out", tmp_path / "out.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert said(done.stderr) == f"error: There must be at least one image. Received: none in {tmp_path}.\n"
    assert not list(tmp_path.iterdir())


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which the command ends before it has loaded a model."""
    monkeypatch.setattr(sys, "argv", command(*arguments)[2:])
    with pytest.raises(SystemExit) as end:
        predict.main()
    assert end.value.code == 2
    out, line = capsys.readouterr()
    assert (out, line.count("\n")) == ("", 1)
    return line


def test_without_a_model_one_line_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("ARTIFACTS", str(tmp_path))
    monkeypatch.setenv("RUNTIME", "litert")
    assert 'run "make train" first' in refusal(monkeypatch, capsys, SAMPLES)


def test_a_path_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    line = refusal(monkeypatch, capsys, SAMPLES, tmp_path / "missing")
    assert line == f"error: each PATH must be a file or a folder. Received: {tmp_path / 'missing'}\n"


@pytest.mark.parametrize("out", ["predictions.xlsx", "predictions", "missing/predictions.csv"])
def test_an_output_that_cannot_be_written_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, out: str
) -> None:
    line = refusal(monkeypatch, capsys, SAMPLES, "--out", tmp_path / out)
    assert line.startswith("error: --out must be a .csv, .jsonl or .parquet file in a folder that exists. Received: ")


def test_parquet_without_pandas_is_refused_before_anything_is_classified(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    line = refusal(monkeypatch, capsys, SAMPLES, "--out", tmp_path / "a.parquet")
    assert line == "error: --out with .parquet needs pandas and pyarrow: install them, or write .csv or .jsonl\n"


def test_it_needs_no_flask_and_on_litert_no_tensorflow(served: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from serving.predict import main; main(); "
        "print({'flask', 'werkzeug', 'gunicorn', 'uvicorn', 'tensorflow', 'pandas'} & sys.modules.keys())"
    )
    arguments = [sys.executable, "-c", program, SAMPLES, "--out", tmp_path / "out.csv"]
    done = subprocess.run(arguments, env=environment(served), capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nset()\n")
