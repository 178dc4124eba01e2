"""The command line refuses, in one line and with status 2, what it could not serve."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import serving
from registry.card import CARD_PATH, CardError, ModelCard
from registry.store import ModelStore
from serving.__main__ import ListenError, check_runtime, example, listen, models_to_serve
from serving.settings import Settings, SettingsError
from tests.conftest import ROOT


def serve(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving", *arguments]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def pushed(tmp_path: Path, card: ModelCard) -> Path:
    """A models directory that looks right from outside; no test here gets as far as loading it."""
    store = ModelStore(tmp_path, card.name)
    with store.stage() as staged:
        (staged / "saved_model.pb").write_bytes(b"")
        store.publish(staged, card)
    return tmp_path


def test_without_a_model_it_says_how_to_get_one() -> None:
    done = serve(ARTIFACTS="artifacts-that-are-not-there", MODELS="")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == ('error: no model in artifacts-that-are-not-there/models yet: run "make train" first\n')


def test_nonsense_in_a_variable_is_named() -> None:
    done = serve(PORT="eighty")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: PORT must be a whole number from 0 to 65535. Received: 'eighty'.\n"


def test_a_port_in_use_is_named(pushed: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve(MODELS=str(pushed), PORT=str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (f"error: port {port} on 127.0.0.1 is in use: stop what uses it, or set another PORT\n")


def test_a_damaged_card_is_named(pushed: Path) -> None:
    card = pushed / "fashion_mnist" / "1" / CARD_PATH
    card.write_text("{")
    done = serve(MODELS=str(pushed), PORT="0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: The model card {card} is not JSON")
    assert done.stderr.count("\n") == 1


def test_a_start_needs_one_readable_card_and_not_that_of_the_newest(tmp_path: Path, card: ModelCard) -> None:
    store = ModelStore(tmp_path, card.name)
    for _ in range(2):
        with store.stage() as staged:
            (staged / "saved_model.pb").write_bytes(b"")
            store.publish(staged, card)
    (store.path(2) / CARD_PATH).write_text("{")
    (store.directory / "pinned").write_text("nine")  # nor a good pin
    assert models_to_serve(Settings(models=tmp_path)) == ("fashion_mnist",)
    (store.path(1) / CARD_PATH).write_text("{")
    with pytest.raises(CardError, match=f"{store.path(2)}.* is not JSON"):
        models_to_serve(Settings(models=tmp_path))


def test_the_example_has_a_sample_of_the_model_and_the_header_of_its_key(tmp_path: Path, card: ModelCard) -> None:
    for name, classes in (("clothes", card.classes), ("flowers", ("daisy", "rose"))):
        store = ModelStore(tmp_path, name)
        with store.stage() as staged:
            (staged / "saved_model.pb").write_bytes(b"")
            store.publish(staged, replace(card, name=name, classes=classes))
    settings = Settings(models=tmp_path)
    sample = os.path.relpath(ROOT / "serving" / "samples" / "ankle-boot.png")
    assert example(settings, ("clothes", "flowers"), "http://a") == f"curl -F image=@{sample} http://a/predict"
    locked = replace(settings, api_keys=hashlib.sha256(b"sesame").hexdigest())
    assert example(locked, ("flowers",), "http://a") == "curl -H 'X-API-Key: KEY' -F image=@FILE http://a/predict"


def test_a_place_for_metrics_that_is_none_is_named(pushed: Path) -> None:
    done = serve(MODELS=str(pushed), PORT="0", METRICS_DIRECTORY=__file__)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: METRICS_DIRECTORY must be a directory to write to. Received: ")
    assert done.stderr.count("\n") == 1


def test_a_runtime_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.__main__.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"^RUNTIME=litert needs ai_edge_litert: install the extra `litert`$"):
        check_runtime(Settings(runtime="litert"))


@pytest.mark.parametrize("wait", ["0", "1"])
def test_more_models_than_may_be_served_are_refused_in_one_sentence(pushed: Path, wait: str) -> None:
    shutil.copytree(pushed / "fashion_mnist", pushed / "second")
    done = serve(MODELS=str(pushed), PORT="0", WAIT_FOR_MODEL=wait, MAX_MODELS="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: MAX_MODELS must be at least the number of models to serve. Received: 1 for fashion_mnist, second "
        f"in {pushed}. Raise it, or choose models with MODEL_NAME\n"
    )


def test_help_lists_the_variables_and_their_defaults() -> None:
    done = serve("--help")
    assert done.returncode == 0
    assert "PORT               port to listen on; 0 for any free one [8080]" in done.stdout


def test_tls_options_for_gunicorn_are_refused_in_one_line(pushed: Path, tmp_path: Path) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).touch()
    options = f"--certfile {tmp_path / 'cert'} --keyfile {tmp_path / 'key'}"
    done = serve(MODELS=str(pushed), PORT="0", GUNICORN_CMD_ARGS=options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: TLS must end at a proxy in front of the service. Received: ")
    assert done.stderr.count("\n") == 1


def test_preloading_by_gunicorn_is_refused(pushed: Path) -> None:
    done = serve(MODELS=str(pushed), PORT="0", GUNICORN_CMD_ARGS="--preload", WAIT_FOR_MODEL="1", RUNTIME="litert")
    assert done.returncode == 2
    refusal = "error: Each worker must load the model itself. Received: --preload for gunicorn."
    assert refusal in done.stderr.splitlines()  # beside what the model said that gunicorn has begun to load


def test_an_unknown_option_is_refused() -> None:
    done = serve("--fast")
    assert done.returncode == 2
    assert "unrecognized arguments: --fast" in done.stderr


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "127..0.1"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ListenError, match=r"^HOST must be an address of this machine\. Received: "):
        listen(Settings(host=host, port=0))


def test_a_host_name_is_listened_on() -> None:
    with listen(Settings(host="localhost", port=0)) as listener:
        assert listener.getsockname()[1] > 0


def test_neither_the_command_line_nor_gunicorn_s_master_imports_tensorflow_or_flask() -> None:
    configuration = Path(serving.__file__).with_name("gunicorn.conf.py")
    code = (
        f"import sys, runpy, serving.__main__; runpy.run_path({str(configuration)!r}); "
        "sys.exit(bool({'tensorflow', 'flask', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=300, check=False).returncode == 0
