"""The store of versions, seen from one process."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from registry.card import CARD_PATH, CardError, ModelCard
from registry.disk import locked
from registry.models import models
from registry.store import ModelStore, RegistryError

Publish = Callable[..., int]


def test_a_published_version_is_whole_and_served(store: ModelStore, card: ModelCard, publish: Publish) -> None:
    assert publish() == 1
    assert store.versions() == [1]
    assert store.served() == store.newest() == 1
    assert store.card(1).metrics == card.metrics
    assert sorted(store.card(1).files) == ["saved_model.pb", "variables/variables.index"]
    assert store.verify() == []
    assert models(store.root) == ["fashion_mnist"]


def test_an_empty_store_serves_nothing(store: ModelStore) -> None:
    assert (store.versions(), store.newest(), store.pinned(), store.served()) == ([], None, None, None)
    assert models(store.root) == []
    assert not store.root.exists(), "reading must not write"


def test_versions_only_grow_also_past_strangers_with_a_number(store: ModelStore, publish: Publish) -> None:
    publish()
    (store.directory / "7").mkdir()
    (store.directory / "9").write_text("not a directory")
    assert publish() == 10
    assert store.versions() == [1, 10]


def test_only_versions_and_the_pin_are_in_the_directory_that_is_served(store: ModelStore, publish: Publish) -> None:
    publish()
    store.pin(publish())
    assert sorted(os.listdir(store.directory)) == ["1", "2", "pinned"]


def test_whoever_serves_a_version_may_read_it(store: ModelStore, publish: Publish) -> None:
    umask = os.umask(0o022)
    try:
        publish()
    finally:
        os.umask(umask)
    assert (store.path(1).stat().st_mode & 0o777) == 0o755


def test_what_is_staged_and_not_published_is_removed(store: ModelStore) -> None:
    with store.stage() as staged:
        (staged / "saved_model.pb").write_bytes(b"graph")
    assert not staged.parent.exists()
    assert store.versions() == []


def test_a_stage_without_a_saved_model_is_not_published(store: ModelStore, card: ModelCard) -> None:
    with (
        store.stage() as staged,
        pytest.raises(RegistryError, match=r"must hold saved_model.pb.*export first"),
    ):
        store.publish(staged, card)


def test_a_card_of_another_model_is_not_published(store: ModelStore, publish: Publish) -> None:
    with pytest.raises(RegistryError, match=r"must be of the model fashion_mnist. Received: a card of mnist"):
        publish(name="mnist")


def test_a_link_is_not_published_for_it_may_lead_elsewhere(store: ModelStore, card: ModelCard) -> None:
    with store.stage() as staged:
        (staged / "saved_model.pb").write_bytes(b"graph")
        (staged / "figures").symlink_to("..")
        with pytest.raises(RegistryError, match=r"plain files and directories only \(.*figures\)"):
            store.publish(staged, card)
    assert store.versions() == []


@pytest.mark.parametrize("name", ["saved_model.pb", "variables", CARD_PATH])
def test_a_link_that_leads_out_of_a_version_is_damage(
    store: ModelStore, publish: Publish, tmp_path: Path, name: str
) -> None:
    publish()
    inside, outside = store.path(1) / name, tmp_path / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)
    (problem,) = store.verify(1)
    assert problem == f"version 1: {inside}: a version holds plain files and directories only"


def test_a_version_that_is_itself_a_link_is_served_and_pruning_it_leaves_what_it_leads_to(
    store: ModelStore, publish: Publish, tmp_path: Path
) -> None:
    publish(), publish()
    outside = store.path(1).rename(tmp_path / "outside")
    store.path(1).symlink_to(outside)
    store.pin(1)
    assert (store.served(), store.verify()) == (1, [])
    store.unpin()
    assert store.prune(keep=1) == [1]
    assert not store.path(1).is_symlink()
    assert (outside / "variables" / "variables.index").read_bytes() == b"weights"


def test_every_file_is_on_the_disk_before_the_version_has_its_number(
    store: ModelStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    before: list[set[int]] = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_ino), fsync(file)))
    monkeypatch.setattr(os, "rename", lambda old, new: (before.append(set(synced)), rename(old, new)))
    publish()
    version = store.path(1)
    assert {path.stat().st_ino for path in [version, *version.rglob("*")]} <= before[0]
    assert store.directory.stat().st_ino in synced
    assert store.directory.stat().st_ino not in before[0]


@pytest.mark.parametrize("name", ["", ".staging", "../models", "a/b", "-x"])
def test_a_name_that_is_no_plain_directory_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegistryError, match="A model's name must be"):
        ModelStore(tmp_path, name)


def test_an_unknown_version_names_those_there_are(store: ModelStore, publish: Publish) -> None:
    with pytest.raises(RegistryError, match=r"no version 1 of fashion_mnist in .*: there is none yet"):
        store.card(1)
    publish(), publish()
    for ask in (store.card, store.pin, store.verify):
        with pytest.raises(RegistryError, match=r"no version 9 of fashion_mnist in .*: there is version 1, 2"):
            ask(9)


def test_a_card_of_a_newer_format_is_still_listed_and_says_to_upgrade(store: ModelStore, publish: Publish) -> None:
    publish()
    (store.path(1) / CARD_PATH).write_text('{"format": 2}')
    assert store.versions() == [1]
    with pytest.raises(CardError, match="upgrade"):
        store.card(1)


def test_a_pin_holds_against_newer_versions_until_it_is_taken_back(store: ModelStore, publish: Publish) -> None:
    publish(), publish()
    store.pin(1)
    assert publish() == 3
    assert (store.pinned(), store.served(), store.newest()) == (1, 1, 3)
    store.unpin()
    store.unpin()
    assert (store.pinned(), store.served()) == (None, 3)


@pytest.mark.parametrize("text", ["", "newest", "0", "-1", "1 2", "\xff", "1" * 5000])
def test_a_pin_that_holds_nonsense_is_an_error_and_can_be_taken_back(
    store: ModelStore, publish: Publish, text: str
) -> None:
    publish()
    (store.directory / "pinned").write_text(text)
    with pytest.raises(RegistryError, match=r"must hold one version number.*Pin a version, or unpin"):
        store.served()
    store.unpin()
    assert store.served() == 1


def test_a_pin_to_a_version_that_is_not_there_is_an_error(store: ModelStore, publish: Publish) -> None:
    publish()
    (store.directory / "pinned").write_text("5\n")
    with pytest.raises(RegistryError, match="names version 5, which is not there: there is version 1"):
        store.pinned()
    with pytest.raises(RegistryError):
        store.prune(1)
    store.pin(1)
    assert store.served() == 1


def test_prune_keeps_the_newest_and_the_pinned(store: ModelStore, publish: Publish) -> None:
    for _ in range(5):
        publish()
    store.pin(2)
    assert store.prune(keep=2) == [1, 3]
    assert store.prune(keep=1) == [4]
    assert store.versions() == [2, 5]
    assert store.prune(keep=9) == []
    assert store.verify() == []
    assert publish() == 6


def test_a_pruned_version_is_out_of_sight_before_its_first_file_goes(
    store: ModelStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(), publish()
    there: list[bool] = []
    rmtree = shutil.rmtree

    def watched(path: Path, **options: bool) -> None:
        there.append(store.path(1).exists())
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", watched)
    assert store.prune(1) == [1]
    assert set(there) == {False}


def test_a_pin_that_moves_while_it_is_read_is_followed(
    store: ModelStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(), publish()
    store.pin(1)
    other = ModelStore(store.root, store.name)

    def versions_after_the_other_acted() -> list[int]:
        if other.pinned() == 1:
            other.pin(2)
            other.prune(1)
        return other.versions()

    monkeypatch.setattr(store, "versions", versions_after_the_other_acted)
    assert store.pinned() == 2


@pytest.mark.parametrize("pinned", [False, True])
def test_prune_removes_nothing_while_the_newest_is_damaged(store: ModelStore, publish: Publish, pinned: bool) -> None:
    publish(), publish()
    if pinned:
        store.pin(1)
    (store.path(2) / "saved_model.pb").write_bytes(b"junk")
    with pytest.raises(RegistryError, match=r"Nothing was removed, because version 2 is damaged: .*saved_model\.pb"):
        store.prune(1)
    assert store.versions() == [1, 2]


@pytest.mark.parametrize("keep", [0, -1])
def test_prune_keeps_at_least_one(store: ModelStore, publish: Publish, keep: int) -> None:
    publish()
    with pytest.raises(RegistryError, match=f"must be at least 1.* Received: {keep}"):
        store.prune(keep)
    assert store.versions() == [1]


def test_a_push_takes_no_number_while_a_prune_runs(store: ModelStore, publish: Publish) -> None:
    publish()
    push = Thread(target=publish)
    with locked(store.root / ".staging" / "fashion_mnist.lock"):
        push.start()
        push.join(0.3)
        assert store.versions() == [1]
    push.join()
    assert store.versions() == [1, 2]


def test_verify_names_missing_changed_and_extra_files(store: ModelStore, publish: Publish) -> None:
    publish(), publish()
    path = store.path(2)
    (path / "saved_model.pb").write_bytes(b"graph!")
    (path / "variables" / "variables.index").unlink()
    (path / "notes.txt").touch()
    problems = [
        "version 2: variables/variables.index is missing",
        "version 2: saved_model.pb has changed",
        "version 2: notes.txt is extra",
    ]
    assert store.verify(2) == store.verify() == problems
    assert store.verify(1) == []


def test_verify_looks_at_the_files_beside_the_saved_model_too(store: ModelStore, card: ModelCard) -> None:
    with store.stage() as staged:
        (staged / "saved_model.pb").write_bytes(b"graph")
        (staged / "assets.extra").mkdir()
        (staged / "assets.extra" / "evaluation.json").write_text("{}")
        store.publish(staged, card)
    assert "assets.extra/evaluation.json" in store.card(1).files
    (store.path(1) / "assets.extra" / "evaluation.json").write_text("[]")
    assert store.verify(1) == ["version 1: assets.extra/evaluation.json has changed"]


def test_a_damaged_version_is_not_pinned(store: ModelStore, publish: Publish) -> None:
    publish(), publish()
    (store.path(1) / "saved_model.pb").write_bytes(b"other")
    with pytest.raises(RegistryError, match=r"not pinned to a damaged version.*saved_model.pb has changed"):
        store.pin(1)
    assert store.pinned() is None


def test_strays_are_no_versions_yet_verify_reports_them(store: ModelStore, publish: Publish) -> None:
    publish()
    (store.directory / "notes.txt").touch()
    for stray in ("007", "0", "1" * 200):
        shutil.copytree(store.path(1), store.directory / stray)
    (store.directory / "5").mkdir()
    (store.directory / "6").mkdir()
    (store.directory / "6" / "saved_model.pb").touch()
    (store.directory / "pinned").write_text("4")
    assert store.versions() == [1]
    found = "\n".join(store.verify())
    for told in (
        "notes.txt is not a version",
        "/0 is not a version",
        "/007 is not a version",
        "11 is not a version",
        "version 5: There is no",
        "names version 4",
    ):
        assert told in found
    assert "version 6: There is no model card" in found


def test_verify_still_names_what_a_version_without_its_saved_model_lacks(store: ModelStore, publish: Publish) -> None:
    publish()
    (store.path(1) / "saved_model.pb").unlink()
    assert store.versions() == []
    assert store.verify(1) == store.verify() == ["version 1: saved_model.pb is missing"]
