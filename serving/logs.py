"""Logs as one JSON object a line, each with the id of its request; images are never logged."""

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
        if (identity := request_id.get()) is not None:
            entry["request_id"] = identity
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)
