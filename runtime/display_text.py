"""Untrusted text (file names, fields of a manifest) as safe text on one line."""

from __future__ import annotations

import json

MAX_SHOWN = 300


def display_name(path: str) -> str:
    """A path as valid Unicode: undecodable bytes (Python's lone surrogates) become `\\xNN`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """`text` for a terminal: control characters, which could move the cursor or hide a name, are shown as escapes."""
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def shown(value: object) -> str:
    """A value out of a file for a message: printable, and cut where it is long."""
    text = printable(str(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
