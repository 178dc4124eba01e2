"""The log tells of faults of the server itself, in the format of all its lines."""

import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import requests

from serving.logs import TextFormatter
from tests.serving.wire import TIMEOUT

ROOT = Path(__file__).parents[2]
FAULTY = """
from serving.model.models import Models
from serving.settings import Settings

class Faulty:
    models, settings = Models(Settings()), Settings()

    def tick(self): ...

    async def __call__(self, scope, receive, send):
        raise RuntimeError("a fault of the server")

app = Faulty()
"""


def test_a_fault_below_flask_is_one_line_of_json_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    command = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "serving" / "gunicorn.conf.py")]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("w") as stderr:
        address, handle = f"http://127.0.0.1:{listener.getsockname()[1]}", listener.fileno()
        command += ["--bind", f"fd://{handle}", "faulty:app"]
        with subprocess.Popen(command, env=environ, stderr=stderr, pass_fds=[handle]) as process:
            try:
                assert requests.get(address, timeout=TIMEOUT).status_code == 500
            finally:
                process.terminate()
    (line,) = log.read_text().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"]) == ("ERROR", "uvicorn.error")
    assert "RuntimeError: a fault of the server" in entry["exception"]


def test_a_line_for_people_stays_one_line() -> None:
    record = logging.makeLogRecord({"msg": "a fault of the server\n", "fields": {"code": 500, "version": ""}})
    assert TextFormatter("%(message)s").format(record) == "a fault of the server code=500"
