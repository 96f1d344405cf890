"""Metadata and opsets of an ONNX file, read without the onnx or protobuf packages or onnxruntime.

The manifest is read before a session exists, so that decoding starts at once and a foreign file is refused in one line.
The file is mapped, not read: fields that nobody asks for, such as gigabytes of weights, cost neither time nor memory.
The framing is protobuf's wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import EngineError
from ...core.manifest import METADATA_KEY, Manifest

MAX_FIELDS = 1_000_000
"""Fields visited in one file, about a second of work. The bundled engine has 10,000."""

MAX_TEXT_BYTES = 1 << 20
"""Longest text that is read into memory: the manifest is the longest in an engine, with a few kilobytes."""

INTEGER = -1
"""Stands for the end of a field that holds an integer."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_LENGTH = {_FIXED64: 8, _FIXED32: 4}
OPSET_IMPORT, METADATA_PROPS = 8, 14
HEADER = frozenset((OPSET_IMPORT, METADATA_PROPS))
KEY, VALUE = 1, 2
"""Fields of a metadata entry; in an opset they are domain and version."""
PAIR = frozenset((KEY, VALUE))

MAX_METADATA_BYTES = 1 << 20
"""All metadata of a file together: many entries are bounded like a long one."""

OPSET_RANGE = (17, 30)
"""Opsets of the default domain that exports of this project use or may come to use."""


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


def pair(message: Message, start: int, end: int) -> tuple[str, str]:
    """Key and value of a metadata entry; of fields that appear twice the last counts, as in protobuf."""
    texts = {KEY: "", VALUE: ""}
    for number, begin, stop in message.fields(PAIR, start, end):
        if stop != INTEGER:
            texts[number] = message.text(begin, stop)
    return texts[KEY], texts[VALUE]


def _opset(message: Message, start: int, end: int) -> tuple[str, int]:
    domain, version = "", 0
    for number, begin, stop in message.fields(PAIR, start, end):
        if number == KEY and stop != INTEGER:
            domain = message.text(begin, stop)
        elif number == VALUE and stop == INTEGER:
            version = begin
    return domain, version


def read_onnx(path: str | Path) -> tuple[dict[str, str], dict[str, int]]:
    """The metadata of an ONNX file, and its opsets: domain ("" is the default one) -> version.

    Raises:
        EngineError: the file is missing, unreadable, truncated or not an ONNX file, or has too much metadata.
    """
    metadata: dict[str, str] = {}
    opsets: dict[str, int] = {}
    size = 0
    with open_message(path) as message:
        for number, start, end in message.fields(HEADER):
            if end == INTEGER:
                raise Malformed
            size += end - start
            if size > MAX_METADATA_BYTES:
                raise EngineError(f"{path}: has too much metadata for an engine; use one made by cinemae-export")
            if number == METADATA_PROPS:
                key, value = pair(message, start, end)
                metadata[key] = value
            else:
                domain, version = _opset(message, start, end)
                opsets[domain] = version
    return metadata, opsets


def read_manifest(path: str | Path) -> Manifest:
    """The validated manifest of an ONNX engine. The opset is checked too; the content hash is not.

    Raises:
        EngineError: as `read_onnx`, or the file has no manifest, or its opset is out of range.
        ManifestError: the manifest is of another schema version or invalid.
    """
    metadata, opsets = read_onnx(path)
    if METADATA_KEY not in metadata:
        raise EngineError(f"{path}: an ONNX file without a CINEMAE manifest; use one made by cinemae-export")
    low, high = OPSET_RANGE
    version = opsets.get("", 0)
    if not low <= version <= high:
        raise EngineError(f"{path}: opset {version} is outside {low} to {high}; export the engine again")
    return Manifest.from_json(metadata[METADATA_KEY], path)
