"""The store under several processes, kills, full disks and read-only ones."""

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.card import ModelCard
from registry.disk import write_json, write_whole
from registry.store import ModelStore, RegistryError

PUSHER = Path(__file__).with_name("pusher.py")
ROOT = PUSHER.parent.parent.parent

Publish = Callable[..., int]


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process with pipes for its input and output; killed on the way out if it still runs."""
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def ready(running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"


def slots(store: ModelStore) -> list[Path]:
    return [path for path in (store.root / ".staging").iterdir() if path.is_dir()]


def assert_nothing_lies_about(store: ModelStore) -> None:
    """After the next stage, nothing but locks is left in staging, and all versions are whole."""
    with store.stage():
        assert len(slots(store)) == 1
    assert slots(store) == []
    assert store.verify() == []


def test_two_processes_that_push_at_once_lose_no_version(store: ModelStore) -> None:
    with process(PUSHER, store.root, 20) as one, process(PUSHER, store.root, 20) as other:
        assert (one.wait(300), other.wait(300)) == (0, 0)
    assert store.versions() == list(range(1, 41))
    assert_nothing_lies_about(store)


def test_a_kill_at_any_moment_leaves_only_whole_versions(store: ModelStore, publish: Publish) -> None:
    publish()
    served: int | None = 1
    chance = random.Random(1)
    for _ in range(12):
        with process(PUSHER, store.root, 1000, 300_000) as push:
            ready(push)
            time.sleep(chance.uniform(0, 0.05))
            push.kill()
            push.wait()
        assert store.verify() == []
        newest = store.served()
        assert newest is not None
        assert newest >= (served or 0)
        served = newest
    assert_nothing_lies_about(store)


HOLD_A_STAGE = """
import sys
from pathlib import Path
from registry.store import ModelStore
with ModelStore(Path(sys.argv[1]), "fashion_mnist").stage() as staged:
    (staged / "saved_model.pb").write_bytes(b"graph")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_the_stage_of_a_living_process_stays_and_that_of_a_killed_one_goes(store: ModelStore) -> None:
    with process("-c", HOLD_A_STAGE, store.root) as living, process("-c", HOLD_A_STAGE, store.root) as dead:
        ready(living)
        ready(dead)
        with store.stage():
            assert len(slots(store)) == 3
        dead.kill()
        dead.wait()
        assert len(slots(store)) == 2
        with store.stage():
            assert len(slots(store)) == 2
        (survivor,) = slots(store)
        assert (survivor / "version" / "saved_model.pb").is_file()
        living.kill()
        living.wait()
    assert_nothing_lies_about(store)


def test_a_slot_that_was_never_locked_is_removed(store: ModelStore, publish: Publish) -> None:
    publish()
    (store.root / ".staging" / "tmpabc").mkdir()  # killed between making it and locking it
    assert_nothing_lies_about(store)


KEEP_PINNING = """
import sys
from pathlib import Path
from registry.store import ModelStore, RegistryError
store = ModelStore(Path(sys.argv[1]), "fashion_mnist")
print("ready", flush=True)
while True:
    for version in store.versions():
        try:
            store.pin(version)
        except RegistryError as error:
            assert "There is no version" in str(error), error  # pruned meanwhile
    store.unpin()
"""


def test_readers_always_find_a_whole_version_while_others_pin_push_and_prune(
    store: ModelStore, publish: Publish
) -> None:
    publish()
    with process("-c", KEEP_PINNING, store.root) as pins, process(PUSHER, store.root, 10_000) as pushes:
        ready(pins)
        ready(pushes)
        newest, reads, end = 1, 0, time.monotonic() + 3
        while time.monotonic() < end or (newest == 1 and time.monotonic() < end + 300):
            served = store.served()
            assert served is not None
            before, newest = newest, store.newest() or 0
            assert newest >= before
            reads += 1
            if reads % 20 == 0:
                store.prune(2)
        assert (pins.poll(), pushes.poll()) == (None, None), "a process failed"
        for each in (pins, pushes):
            each.kill()
            each.wait()
    assert newest > 1, "nothing was pushed"
    assert_nothing_lies_about(store)


def test_a_limit_on_file_sizes_leaves_the_served_version_whole(
    store: ModelStore, publish: Publish, card: ModelCard
) -> None:
    publish()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # enough for the model, not for its card
    try:
        with pytest.raises(RegistryError, match=r"Cannot publish a version in .*: File too large; raise the"):
            publish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.versions() == [1]
    assert slots(store) == []
    assert publish() == 2
    assert_nothing_lies_about(store)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def test_a_full_disk_leaves_the_served_version_whole(disk: Path, publish: Publish, card: ModelCard) -> None:
    store = ModelStore(disk / "models", card.name)
    publish(store)
    with store.stage() as staged:
        (staged / "saved_model.pb").write_bytes(b"graph")
        fill(staged / "weights")
        with pytest.raises(RegistryError, match=r"Cannot publish .* No space left on device.*; free some space"):
            store.publish(staged, card)
    assert store.versions() == [1]
    assert slots(store) == []
    assert store.served() == 1
    fill(disk / "elsewhere")
    with pytest.raises(RegistryError, match="free some space"):
        store.pin(1)
    assert store.pinned() is None
    (disk / "elsewhere").unlink()
    assert publish(store) == 2
    assert_nothing_lies_about(store)


def assert_readable_and_refusing(store: ModelStore, publish: Publish) -> None:
    assert (store.versions(), store.served(), store.verify()) == ([1, 2], 1, [])
    for change in (lambda: publish(store), lambda: store.pin(2), store.unpin, lambda: store.prune(1)):
        with pytest.raises(RegistryError, match=r"Cannot .*; (make it writable|change its permissions)"):
            change()


def test_a_read_only_disk_is_read_and_refuses_changes(disk: Path, publish: Publish) -> None:
    store = ModelStore(disk / "models", "fashion_mnist")
    publish(store), publish(store)
    store.pin(1)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert_readable_and_refusing(store, publish)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where permissions forbid it")
def test_a_directory_without_write_permission_is_read_and_refuses_changes(store: ModelStore, publish: Publish) -> None:
    publish(), publish()
    store.pin(1)
    closed = [store.root, store.directory, store.root / ".staging", *(store.root / ".staging").iterdir()]
    for path in closed:
        path.chmod(0o555)
    try:
        assert_readable_and_refusing(store, publish)
    finally:
        for path in closed:
            path.chmod(0o755)


def test_a_disk_that_is_full_in_the_middle_of_a_write_leaves_the_file_before(tmp_path: Path) -> None:
    path, before = tmp_path / "verdict.json", resource.getrlimit(resource.RLIMIT_FSIZE)
    write_json(path, {"accepted": True})
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as refused:
            write_json(path, {"accepted": "no" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.value.filename == str(path)
    assert json.loads(path.read_text()) == {"accepted": True}
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_in_the_middle_of_a_write_leaves_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_whole(path, "whole")
    script = (
        "import sys; from pathlib import Path; from registry.disk import replacing\n"
        "with replacing(Path(sys.argv[1])) as part:\n"
        "    part.write_text('ha'); print('ready', flush=True); sys.stdin.read()\n"
    )
    with process("-c", script, path) as running:
        ready(running)
        running.kill()
    assert path.read_text() == "whole"
