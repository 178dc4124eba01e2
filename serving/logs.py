"""Logs for machines and for people: each line has the id of its request, and images are never logged."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

# Set where a request begins. Flask's own context would do, but gunicorn's master writes logs too, without Flask.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class JsonFormatter(logging.Formatter):
    """One line a record: time in UTC, level, logger, process and message, then what the record has of its own."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        entry |= _details(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A line for people: time, process, level and message, then what the record has of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # as logging calls it
        details = (f"{name}={value}" for name, value in _details(record).items() if value != "")
        return " ".join([super().formatMessage(record).rstrip(), *details])  # uvicorn's messages may end their line


def _details(record: logging.LogRecord) -> dict[str, object]:
    """The id of the request that the record is about, if it is about one, and the fields that it brings."""
    identity = request_id.get()
    return ({} if identity is None else {"request_id": identity}) | getattr(record, "fields", {})
