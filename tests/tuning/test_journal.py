"""The journal: what it was told once it tells again, whatever happened in between."""

import os
from pathlib import Path

import pytest

from tests.tuning.disk import full_at
from tuning.journal import Journal, SearchError

END = {"status": "COMPLETED", "score": 0.5, "history": [0.4, 0.5], "stopped": False, "seconds": 1.0, "message": ""}


def written(path: Path) -> Journal:
    journal = Journal(path)
    journal.begin(0, "tuner0", {"learning_rate": 0.1})
    journal.begin(1, "tuner1", {"learning_rate": 1.0})
    journal.end(0, **END)
    return journal


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    first = written(tmp_path / "trials.jsonl")
    second = Journal(tmp_path / "trials.jsonl")
    assert second.records == first.records
    assert second.events == [("begin", 0), ("begin", 1), ("end", 0)]
    assert [record.number for record in second.finished] == [0]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_half_a_line_at_the_end_is_as_if_it_had_not_been_written(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    written(path)
    os.truncate(path, path.stat().st_size - cut)
    journal = Journal(path)
    assert journal.finished == []
    journal.end(0, **END)
    assert [record.score for record in Journal(path).finished] == [0.5]


def test_a_power_cut_takes_nothing_that_the_journal_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trials.jsonl"
    on_disk = b""

    def fsync(_: int) -> None:
        nonlocal on_disk
        on_disk = path.read_bytes()

    monkeypatch.setattr(os, "fsync", fsync)
    written(path)
    path.write_bytes(on_disk)
    assert Journal(path).events == [("begin", 0), ("begin", 1), ("end", 0)]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    written(path)
    path.write_bytes(path.read_bytes().replace(b'{"event": "begin", "number": 1', b"rubbish"))
    with pytest.raises(SearchError, match=r"expected an event of a search in line 2 .* --fresh begins anew"):
        Journal(path)


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    journal = written(path)
    before = path.read_bytes()
    with full_at(len(before) + 20), pytest.raises(OSError, match="No space left on device") as refused:
        journal.end(1, **END)
    assert refused.value.filename == str(path)
    assert path.read_bytes() == before
    assert [record.number for record in journal.finished] == [0]
