"""Content hash of an engine file: detects damage and edits. It proves integrity, not who made the file.

The hash is SHA-256 over the whole file with the 64 hex digits of the manifest's `content_sha256` replaced by zeros.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

from ...core.errors import EngineError
from ...core.files import file_sha256
from ...core.manifest import Manifest
from ...core.text import shown
from .header import open_message

HASH_FIELD = b'"content_sha256":"'
HASH_DIGITS = 64
MAX_NAME = 200
"""Characters of the name of a file beside an engine; file systems take 255 bytes."""

_HEX = re.compile(rb"[0-9a-f]{64}")


def hashes(path: str | Path) -> tuple[str, str, int]:
    """The hash of an engine file as computed and as stored, hex, and the position of the first stored digit.

    Raises:
        EngineError: the file cannot be read, or `"content_sha256":"` with 64 digits is missing or appears twice.
    """
    with open_message(path) as message:
        data = message.data
        start = data.find(HASH_FIELD) + len(HASH_FIELD)
        end = start + HASH_DIGITS
        stored = data[start:end]
        if start < len(HASH_FIELD) or not _HEX.fullmatch(stored):
            raise EngineError(
                f"{path}: holds no CINEMAE manifest: truncated, or not an engine of this project (cinemae-export makes "
                "one)"
            )
        if data.find(HASH_FIELD, end) >= 0:
            raise EngineError(f"{path}: holds two manifests; export the engine again")
        digest = hashlib.sha256()
        with memoryview(data) as view, view[:start] as before, view[end:] as after:
            for part in (before, b"0" * HASH_DIGITS, after):
                digest.update(part)
    return digest.hexdigest(), stored.decode("ascii"), start


def seal(path: str | Path) -> str:
    """Write the content hash into an engine file in place, the last step of an export; returns the hash, hex.

    Raises:
        EngineError: as `hashes`.
    """
    computed, _, start = hashes(path)
    with Path(path).open("r+b") as file:
        file.seek(start)
        file.write(computed.encode("ascii"))
    return computed


def check_content(path: str | Path) -> str:
    """Compare the stored hash with the computed one, and return it, hex.

    Raises:
        EngineError: as `hashes`, or the file was damaged or changed after its export.
    """
    computed, stored, _ = hashes(path)
    if not hmac.compare_digest(computed, stored):
        raise EngineError(
            f"{path}: its content does not match its own hash: damaged or changed after export; copy or export it again"
        )
    return stored


def is_plain_name(name: str) -> bool:
    """Whether a name from a file is that of a file in the same folder: no path, no control characters, not too long."""
    return 0 < len(name) <= MAX_NAME and name.isprintable() and name not in (".", "..") and not set(name) & set("/\\:")


def check_external_data(path: str | Path, manifest: Manifest) -> None:
    """Compare each weight file beside an ONNX file with its hash in `manifest.external_data`.

    Raises:
        EngineError: a weight file is missing or changed, or its name is not a plain file name.
    """
    path = Path(path)
    for name, expected in manifest.external_data.items():
        if not is_plain_name(name):
            raise EngineError(f"{path}: weights '{shown(name)}' are not a plain file name; export the engine again")
        beside = path.parent / name
        if not beside.is_file():
            raise EngineError(f"{path}: its weights {name!r} are missing; keep both files in one folder")
        if file_sha256(beside) != expected:
            raise EngineError(f"{beside}: does not match the hash in {path.name}; copy or export both files again")
