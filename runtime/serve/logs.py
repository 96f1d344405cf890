"""The server's log on stderr, as sentences or as JSON lines, and the id that joins the lines of one request."""

from __future__ import annotations

import json
import logging
import re
import sys
import uuid
from contextvars import ContextVar
from datetime import datetime, timezone

log = logging.getLogger("cinemae.serve")
request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request that is being answered."""
_ID = re.compile(r"[\w.+/=-]{1,128}", re.ASCII)


def id_of(header: str) -> str:
    """The X-Request-ID that a proxy gave, a new id where it gave none, or text that does not belong into a log."""
    return header if _ID.fullmatch(header) else uuid.uuid4().hex


class _Sentences(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno == logging.INFO else f"{record.levelname.lower()}: {text}"


class _JsonLines(logging.Formatter):
    """`time` (UTC), `level`, `message`, and what `extra={"fields": {...}}` holds."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "message": super().format(record)}
        return json.dumps(line | getattr(record, "fields", {}))


def log_to_stderr(as_json: bool) -> None:
    """Send warnings of all libraries and everything of the server to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else _Sentences())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(logging.INFO)
