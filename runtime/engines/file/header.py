"""Metadata and opsets of an ONNX file, read without the onnx package or onnxruntime.

The manifest is read before a session exists, so that decoding starts at once and a foreign file is refused in one line.
Only the top-level fields are visited; the graph is skipped.
"""

from __future__ import annotations

from pathlib import Path

from ...core.errors import EngineError
from ...core.manifest import METADATA_KEY, Manifest
from .protobuf import INTEGER, Malformed, Message, open_message

OPSET_IMPORT, METADATA_PROPS = 8, 14
HEADER = frozenset((OPSET_IMPORT, METADATA_PROPS))
KEY, VALUE = 1, 2
"""Fields of a metadata entry; in an opset they are domain and version."""
PAIR = frozenset((KEY, VALUE))

MAX_METADATA_BYTES = 1 << 20
"""All metadata of a file together: many entries are bounded like a long one."""

OPSET_RANGE = (17, 30)
"""Opsets of the default domain that exports of this project use or may come to use."""


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
