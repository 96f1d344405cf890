"""Untrusted text (file names, fields of a manifest) as safe text on one line."""

from __future__ import annotations

import json
import re
import shutil
import sys
from textwrap import wrap
from typing import TextIO

MAX_SHOWN = 300
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Surrogates that stand for no undecodable byte (PEP 383): names on Windows may hold them."""


def display_name(path: str) -> str:
    """A path as valid Unicode: undecodable bytes (Python's lone surrogates) become `\\xNN`, others `\\uNNNN`."""
    path = _NO_BYTE.sub(lambda found: f"\\u{ord(found[0]):04x}", path)
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """`text` for a terminal: control characters, which could move the cursor or hide a name, are shown as escapes."""
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def shown(value: object) -> str:
    """A value out of a file for a message: printable, and cut where it is long."""
    text = printable(str(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def first_line(error: Exception | str) -> str:
    """The first line of an error, printable and cut where it is long; the name of its class where it has no text."""
    return shown(_lines(error)[0])


def last_line(error: Exception | str) -> str:
    """The last line of an error or of a program's stderr, as `first_line`; the cause, where messages are nested."""
    return shown(_lines(error)[-1])


def _lines(error: Exception | str) -> list[str]:
    return str(error).strip().splitlines() or ["no message" if isinstance(error, str) else type(error).__name__]


def hanging(text: str, indent: int, width: int | None) -> str:
    """`text` in lines that end between words, the later ones indented; None as width leaves it as it is.

    The first `indent` characters, a heading, stay as they are. Words longer than a line are not broken, so that a
    path or a command can be copied.
    """
    head, body = text[:indent], text[indent:]
    if width is None or len(text) <= width:
        return text
    lines = wrap(body, max(width - indent, 20), break_long_words=False, break_on_hyphens=False)
    return head + f"\n{' ' * indent}".join(lines)


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Columns of the terminal that a stream, by default standard output, is; None where it is none."""
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None


def message(text: str) -> str:
    """A text for stderr: printable, on a terminal in lines that end between words."""
    return hanging(printable(text), 2, terminal_width(sys.stderr))
