"""The framing of protobuf's wire format, enough to walk an ONNX file without the onnx or protobuf packages.

The file is mapped, not read: fields that nobody asks for, such as gigabytes of weights, cost neither time nor memory.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import EngineError

MAX_FIELDS = 1_000_000
"""Fields visited in one file, about a second of work. The bundled engine has 10,000."""

MAX_TEXT_BYTES = 1 << 20
"""Longest text that is read into memory: the manifest is the longest in an engine, with a few kilobytes."""

INTEGER = -1
"""Stands for the end of a field that holds an integer."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_LENGTH = {_FIXED64: 8, _FIXED32: 4}


class Malformed(Exception):
    """The bytes are not a protobuf message."""


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """The base-128 integer at a position, and the position after it."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while shift < 64:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    raise Malformed


class Message:
    """One file as a protobuf message."""

    def __init__(self, data: mmap.mmap) -> None:
        """Wrap a mapped file."""
        self.data = data
        self._left = MAX_FIELDS

    def fields(
        self, wanted: frozenset[int], start: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, int, int]]:
        """Fields of the message between two positions of the file, in order.

        Args:
            wanted: field numbers to yield.
            start: position of the message's first byte.
            end: position after its last byte, None for the end of the file.

        Yields:
            Field number, start and end of its bytes; for an integer its value and `INTEGER`.

        Raises:
            Malformed: no protobuf message, or more than `MAX_FIELDS` fields in all calls together.
        """
        data = self.data
        at, end = start, len(data) if end is None else end
        try:
            while at < end:
                tag, at = (data[at], at + 1) if data[at] < 0x80 else _varint(data, at)
                number, kind = tag >> 3, tag & 7
                self._left -= 1
                if number == 0 or self._left < 0:
                    raise Malformed
                if kind == _BYTES:
                    length, begin = (data[at], at + 1) if data[at] < 0x80 else _varint(data, at)
                    at = begin + length
                    if at > end:
                        raise Malformed
                    if number in wanted:
                        yield number, begin, at
                elif kind == _VARINT:
                    value, at = _varint(data, at)
                    if number in wanted:
                        yield number, value, INTEGER
                elif kind in _FIXED_LENGTH:
                    at += _FIXED_LENGTH[kind]
                else:
                    raise Malformed
        except IndexError:
            raise Malformed from None
        if at != end:
            raise Malformed

    def text(self, start: int, end: int) -> str:
        """The UTF-8 text between two positions.

        Raises:
            Malformed: not UTF-8, or longer than `MAX_TEXT_BYTES`.
        """
        if end - start > MAX_TEXT_BYTES:
            raise Malformed
        try:
            return self.data[start:end].decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed from None


@contextmanager
def open_message(path: str | Path) -> Iterator[Message]:
    """Map an ONNX file.

    Raises:
        EngineError: the file is missing, unreadable, empty, not a regular file, or `Malformed` was raised inside.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise EngineError(f"{path}: is not a regular file; name an .onnx file")
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                raise EngineError(f"{path}: is empty; copy or export the engine again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield Message(data)
    except FileNotFoundError:
        raise EngineError(f"{path}: no such engine file") from None
    except OSError as error:
        raise EngineError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Malformed:
        raise EngineError(f"{path}: is truncated or not an ONNX file; copy or export the engine again") from None
