"""Metadata and opsets of an ONNX file, read without the onnx package or onnxruntime.

The manifest is read before a session exists, so that decoding starts at once and a foreign file is refused in one
line. The base install has no protobuf package: the top-level fields of the wire format are walked and the graph is
skipped.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import EngineError
from ..manifest import METADATA_KEY, Manifest

OPSET_IMPORT, METADATA_PROPS = 8, 14
MAX_FIELD_BYTES = 64 << 20
"""A manifest is a few kilobytes; a metadata entry larger than this is not ours and is not read into memory."""
MAX_FIELDS = 100_000
OPSET_RANGE = (17, 30)
"""Opsets of the default domain that exports of this project use or may come to use."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_LENGTH = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True)
class OnnxFile:
    """The fields of an ONNX file outside of its graph.

    Attributes:
        metadata: key -> value of `metadata_props`.
        opsets: domain -> version; "" is the default domain.
    """

    metadata: dict[str, str]
    opsets: dict[str, int]


class _Malformed(Exception):
    """The bytes are not a protobuf message."""


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte or shift > 63:
            raise _Malformed
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7


def _fields(file: BinaryIO, size: int, wanted: frozenset[int]) -> list[tuple[int, int, bytes]]:
    """Fields of a protobuf message whose number is wanted; the others are skipped without reading them.

    Returns:
        Field number, integer value (0 for bytes) and bytes (empty for integers) of each field, in file order.
    """
    fields: list[tuple[int, int, bytes]] = []
    for _ in range(MAX_FIELDS):
        if file.tell() == size:
            return fields
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise _Malformed
        if kind == _VARINT:
            value = _varint(file)
            if number in wanted:
                fields.append((number, value, b""))
            continue
        if kind not in (_FIXED64, _BYTES, _FIXED32):
            raise _Malformed
        length = _varint(file) if kind == _BYTES else _FIXED_LENGTH[kind]
        if file.tell() + length > size:
            raise _Malformed
        if kind == _BYTES and number in wanted:
            if length > MAX_FIELD_BYTES:
                raise _Malformed
            fields.append((number, 0, file.read(length)))
        else:
            file.seek(length, os.SEEK_CUR)
    raise _Malformed


def _message(data: bytes) -> dict[int, tuple[int, bytes]]:
    parts = _fields(io.BytesIO(data), len(data), frozenset((1, 2)))
    return {number: (value, content) for number, value, content in parts}


def read_onnx(path: str | Path) -> OnnxFile:
    """Read metadata and opsets of an ONNX file.

    Raises:
        EngineError: the file is missing, unreadable, truncated or not an ONNX file.
    """
    path = Path(path)
    metadata: dict[str, str] = {}
    opsets: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise EngineError(f"{path}: is empty; copy or export the engine again")
            for number, _, data in _fields(file, size, frozenset((OPSET_IMPORT, METADATA_PROPS))):
                entry = _message(data)
                first, second = entry.get(1, (0, b""))[1], entry.get(2, (0, b""))
                if number == METADATA_PROPS:
                    metadata[first.decode("utf-8")] = second[1].decode("utf-8")
                else:
                    opsets[first.decode("utf-8")] = second[0]
    except FileNotFoundError:
        raise EngineError(f"{path}: no such engine file") from None
    except OSError as error:
        raise EngineError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (_Malformed, UnicodeDecodeError):
        raise EngineError(f"{path}: is truncated or not an ONNX file; copy or export the engine again") from None
    return OnnxFile(metadata, opsets)


def read_manifest(path: str | Path) -> Manifest:
    """The validated manifest of an ONNX engine. The opset is checked too; the content hash is not.

    Raises:
        EngineError: as `read_onnx`, or the file has no manifest, or its opset is out of range.
        ManifestError: the manifest is of another schema version or invalid.
    """
    header = read_onnx(path)
    if METADATA_KEY not in header.metadata:
        raise EngineError(f"{path}: an ONNX file without a CINEMAE manifest; use one made by cinemae-export")
    low, high = OPSET_RANGE
    version = header.opsets.get("", 0)
    if not low <= version <= high:
        raise EngineError(f"{path}: opset {version} is outside {low} to {high}; export the engine again")
    return Manifest.from_json(header.metadata[METADATA_KEY], path)
