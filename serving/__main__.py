"""The command line: `python -m serving` checks that it can serve, then becomes gunicorn."""

import argparse
import errno
import os
import shlex
import socket
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from registry.card import CardError, ModelCard
from registry.store import ModelStore, RegistryError
from serving import metrics
from serving.keys import Keys
from serving.model.served import ManyModelsError, NoModelError, names_to_serve
from serving.settings import Settings, SettingsError, describe

SAMPLE = Path(__file__).parent / "samples" / "ankle-boot.png"
SAMPLE_CLASS = "Ankle boot"
RUNTIMES = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "litert": ("ai_edge_litert", "litert")}
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where to reach a server that listens everywhere


class ListenError(RuntimeError):
    """The address cannot be listened on; the message names the variable to change."""


def main() -> None:
    """Check, print the address, and become gunicorn; exit with status 2 and one line on stderr on a mistake."""
    _parser().parse_args()
    try:
        settings = Settings.from_environ(os.environ)
        check_runtime(settings)
        found = models_to_serve(settings)
        Keys(settings)
        listener = listen(settings)
        share_metrics(settings)
    except (SettingsError, NoModelError, RegistryError, CardError, ListenError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    url = _url(settings.host, listener.getsockname()[1])
    serving = f"Serving {' and '.join(found)}" if found else f"Waiting for a model in {settings.model_root}"
    announce(f"{serving} at {url}; try: {example(settings, found, url)}")
    # Threads that take turns need no memory arena each.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    # Workers use all cores already; numpy's threads would only compete for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # The listening socket goes along, so that nobody can take the port in between.
    listener.set_inheritable(True)
    configuration = Path(__file__).with_name("gunicorn.conf.py")
    arguments = ["-m", "gunicorn", "--config", str(configuration), "--bind", f"fd://{listener.fileno()}"]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  # no shell, and that is the point


def announce(sentence: str) -> None:
    """Print it; a stdout that cannot be written to, such as a file on a full disk, is no reason not to serve."""
    try:
        print(sentence, flush=True)
    except OSError as error:
        with suppress(OSError):
            print(f"warning: stdout: {error.strerror}. {sentence}", file=sys.stderr)


def models_to_serve(settings: Settings) -> tuple[str, ...]:
    """The names of the models that will be served; none if there are none and WAIT_FOR_MODEL is set.

    Raises CardError when no version of the default one has a card that can be read: the newest one's.
    """
    try:
        names = names_to_serve(settings)
    except NoModelError as error:
        if isinstance(error, ManyModelsError) or not settings.wait_for_model:
            raise
        return ()
    _newest_card(ModelStore(settings.model_root, names[0]))
    return names


def example(settings: Settings, names: tuple[str, ...], url: str) -> str:
    """A curl command for the default model, the first of `names`.

    It has a sample image if that is of one of the model's classes, and the header of the API key where keys are set.
    """
    card = _newest_card(ModelStore(settings.model_root, names[0])) if names else None
    sample = os.path.relpath(SAMPLE) if card is None or SAMPLE_CLASS in card.classes else "FILE"
    header = "-H 'X-API-Key: KEY' " if Keys(settings).needed else ""
    return f"curl {header}-F {shlex.quote(f'image=@{sample}')} {url}/predict"


def _newest_card(store: ModelStore) -> ModelCard | None:
    """The card of the newest version that has a readable one; None if there are no versions."""
    problems: list[CardError] = []
    for version in reversed(store.versions()):
        try:
            return store.card(version)
        except CardError as error:
            problems.append(error)
    if problems:
        raise problems[0]
    return None


def check_runtime(settings: Settings) -> None:
    """Raises SettingsError when the library of the chosen runtime is not installed. It is not imported here."""
    package, extra = RUNTIMES[settings.runtime]
    if find_spec(package) is None:
        raise SettingsError(f"RUNTIME={settings.runtime} needs {package}: install the extra `{extra}`")


def listen(settings: Settings) -> socket.socket:
    """A listening socket at HOST and PORT. Raises ListenError when the system does not give it.

    The trainer's gate opens the socket itself, so that it knows the port, and says in LISTEN_FD which one it is.
    """
    if handle := os.environ.get("LISTEN_FD"):
        return socket.socket(fileno=int(handle))
    host, port = settings.host, settings.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # `::` takes IPv4 too where the system can, as people expect of "every address".
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=both)
    except UnicodeError as error:  # of a name that is invalid in DNS
        raise ListenError(f"HOST must be an address of this machine. Received: {host!r}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ListenError(f"port {port} on {host} is in use: stop what uses it, or set another PORT") from error
        if error.errno == errno.EACCES:
            raise ListenError(f"PORT must be one that you may open, such as 8080. Received: {port}") from error
        raise ListenError(f"HOST must be an address of this machine. Received: {host!r}") from error


def share_metrics(settings: Settings) -> None:
    """Tell the workers where to share their metrics; without a place for that, each has its own."""
    try:
        directory = str(metrics.prepare(settings.metrics_directory))
    except OSError as error:
        print(f"warning: workers do not share their metrics: {error}; set METRICS_DIRECTORY", file=sys.stderr)
        return
    os.environ["METRICS_DIRECTORY"] = directory
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # prometheus_client's own way to share


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for every other mistake."""
        self.exit(2, f"error: {message} (it is configured by environment variables; --help lists them)\n")


def _parser() -> argparse.ArgumentParser:
    return _Parser(
        prog="python -m serving",
        description="Serve the newest (or pinned) version of each pushed model over HTTP.",
        epilog=f"Environment variables configure it (defaults in brackets):\n{describe()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _url(host: str, port: int) -> str:
    host = ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


if __name__ == "__main__":
    main()
