"""Content hash of an engine file: detects damage and edits. It proves integrity, not who made the file."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import EngineError
from ..manifest import Manifest

HASH_FIELD = b'"content_sha256":"'
HASH_DIGITS = 64
CHUNK_BYTES = 1 << 22
"""Read size: memory stays flat for engines of several gigabytes."""

_ZEROS = b"0" * HASH_DIGITS
_HEX = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True)
class ContentHash:
    """`computed` over the file with the stored digits zeroed, `stored` as found, `offset` of its first digit."""

    computed: str
    stored: str
    offset: int


def stream_sha256(file: BinaryIO) -> str:
    """SHA-256 of an open file from where it stands, hex, read in chunks; leaves it at its start."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a whole file, hex."""
    with Path(path).open("rb") as file:
        return stream_sha256(file)


def scan(path: str | Path) -> ContentHash:
    """Hash the bytes of `path` with the 64 digits after `"content_sha256":"` replaced by zeros, in one streaming pass.

    Raises:
        EngineError: unreadable, or the field is missing or appears more than once.
    """
    path = Path(path)
    digest = hashlib.sha256()
    offset, stored = -1, b""
    keep = len(HASH_FIELD) + HASH_DIGITS - 1  # a field across two chunks is still seen whole
    buffer, start = bytearray(), 0  # bytes not hashed yet, and the file position of buffer[0]
    searched = 0  # position in the file up to which a field would have been found
    try:
        with path.open("rb") as file:
            while True:
                chunk = file.read(CHUNK_BYTES)
                buffer += chunk
                found = buffer.find(HASH_FIELD, max(0, searched - start))
                while found >= 0 and found + len(HASH_FIELD) + HASH_DIGITS <= len(buffer):
                    if offset >= 0:
                        raise EngineError(f"{path}: holds two manifests; export the engine again")
                    first = found + len(HASH_FIELD)
                    offset, stored = start + first, bytes(buffer[first : first + HASH_DIGITS])
                    buffer[first : first + HASH_DIGITS] = _ZEROS
                    searched = offset + HASH_DIGITS
                    found = buffer.find(HASH_FIELD, first + HASH_DIGITS)
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


def content_hash(path: str | Path) -> str:
    """The hash an engine file must carry: SHA-256 of its bytes with the stored hash replaced by 64 zeros, hex.

    Raises:
        EngineError: unreadable, or without exactly one `"content_sha256":"<64 hex>"`.
    """
    return scan(path).computed


def seal(path: str | Path) -> str:
    """Write `content_hash(path)` into the file in place and return it; the last step of an export.

    Raises:
        EngineError: as `content_hash`.
    """
    found = scan(path)
    with Path(path).open("r+b") as file:
        file.seek(found.offset)
        file.write(found.computed.encode("ascii"))
    return found.computed


def check_content(path: str | Path) -> str:
    """Compare the stored hash with the file's content and return it.

    Raises:
        EngineError: they differ: the file was damaged or changed after its export.
    """
    found = scan(path)
    if not hmac.compare_digest(found.computed, found.stored):
        raise EngineError(
            f"{path}: its content does not match its own hash: damaged or changed after export; copy or export it again"
        )
    return found.stored


def check_external_data(path: str | Path, manifest: Manifest) -> None:
    """Compare each external weight file beside `path` with the hash in the manifest.

    Raises:
        EngineError: a file is missing, changed, or its name leaves the engine's folder.
    """
    path = Path(path)
    for name, expected in manifest.external_data.items():
        if not name or Path(name).name != name or "\\" in name:
            raise EngineError(f"{path}: external data {name!r} is not a plain file name; export the engine again")
        beside = path.parent / name
        if not beside.is_file():
            raise EngineError(f"{path}: its weights {name!r} are missing; keep both files in one folder")
        if file_sha256(beside) != expected:
            raise EngineError(f"{beside}: does not match the hash in {path.name}; copy or export both files again")
