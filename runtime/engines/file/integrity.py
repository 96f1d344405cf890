"""Content hash of an engine file: detects damage and edits. It proves integrity, not who made the file.

The hash is SHA-256 over the whole file with the 64 hex digits of the manifest's `content_sha256` replaced by zeros.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import EngineError
from ...core.files import CHUNK_BYTES, file_sha256
from ...core.manifest import Manifest
from ...core.text import shown

HASH_FIELD = b'"content_sha256":"'
HASH_DIGITS = 64
MAX_NAME = 200
"""Characters of the name of a file beside an engine; file systems take 255 bytes."""

_ZEROS = b"0" * HASH_DIGITS
_HEX = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True)
class ContentHash:
    """The two hashes of an engine file.

    Attributes:
        computed: SHA-256 of the file with the stored digits zeroed, hex.
        stored: the digits in the file's manifest.
        offset: position of the first stored digit in the file, in bytes.
    """

    computed: str
    stored: str
    offset: int


def scan(path: str | Path) -> ContentHash:
    """Find the stored hash and compute the right one, in one pass that keeps a few MiB in memory.

    Raises:
        EngineError: the file cannot be read, or `"content_sha256":"` with 64 digits is missing or appears twice.
    """
    path = Path(path)
    digest = hashlib.sha256()
    offset, stored = -1, b""
    keep = len(HASH_FIELD) + HASH_DIGITS - 1  # a field across two chunks is still seen whole
    buffer, start = bytearray(), 0  # bytes not hashed yet, and the file position of buffer[0]
    searched = 0  # file position up to which the field was searched for
    try:
        with path.open("rb") as file:
            while True:
                chunk = file.read(CHUNK_BYTES)
                buffer += chunk
                at = buffer.find(HASH_FIELD, max(0, searched - start))
                while at >= 0 and at + len(HASH_FIELD) + HASH_DIGITS <= len(buffer):
                    if offset >= 0:
                        raise EngineError(f"{path}: holds two manifests; export the engine again")
                    first = at + len(HASH_FIELD)
                    offset, stored = start + first, bytes(buffer[first : first + HASH_DIGITS])
                    buffer[first : first + HASH_DIGITS] = _ZEROS
                    searched = offset + HASH_DIGITS
                    at = buffer.find(HASH_FIELD, first + HASH_DIGITS)
                release = len(buffer) if not chunk else max(0, len(buffer) - keep)
                digest.update(buffer[:release])
                del buffer[:release]
                start += release
                if not chunk:
                    break
    except OSError as error:
        raise EngineError(f"{path}: cannot be read ({error.strerror or error})") from None
    if offset < 0 or not _HEX.fullmatch(stored):
        raise EngineError(
            f"{path}: holds no CINEMAE manifest: truncated, or not an engine of this project (cinemae-export makes one)"
        )
    return ContentHash(digest.hexdigest(), stored.decode("ascii"), offset)


def seal(path: str | Path) -> str:
    """Write the content hash into an engine file in place, the last step of an export.

    Returns:
        The hash, hex.

    Raises:
        EngineError: as `scan`.
    """
    content = scan(path)
    with Path(path).open("r+b") as file:
        file.seek(content.offset)
        file.write(content.computed.encode("ascii"))
    return content.computed


def check_content(path: str | Path) -> str:
    """Compare the stored hash with the computed one.

    Returns:
        The hash, hex.

    Raises:
        EngineError: as `scan`, or the file was damaged or changed after its export.
    """
    content = scan(path)
    if not hmac.compare_digest(content.computed, content.stored):
        raise EngineError(
            f"{path}: its content does not match its own hash: damaged or changed after export; copy or export it again"
        )
    return content.stored


def is_plain_name(name: str) -> bool:
    """Whether a name from a file is that of a file in the same folder: no path, no control characters, not too long."""
    return 0 < len(name) <= MAX_NAME and name.isprintable() and name not in (".", "..") and not set(name) & set("/\\:")


def check_external_data(path: str | Path, manifest: Manifest) -> None:
    """Compare each external weight file beside an ONNX file with its hash in the manifest.

    Args:
        path: the ONNX file.
        manifest: its manifest; `external_data` maps file names to SHA-256.

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
