"""Images in zip and tar archives, one by one: nothing is unpacked to a path, and what a member may cost is bounded."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import IO, Any, BinaryIO

from ..core.errors import ImageError
from ..core.text import printable
from ..images.formats import has_image_suffix
from ..images.source import NamedSource, Opener
from ..images.system_files import APPLE_DOUBLE, is_system_file, is_system_path
from ..images.walk import Skipped
from .kinds import SPLIT, archive_kind, refusal

MAX_MEMBERS = 100_000
MAX_MEMBER_BYTES = 256 << 20
"""Larger members are error records: a member is in memory while it is decoded."""
MAX_RATIO, FREE_BYTES = 100, 256 << 20
"""An archive may expand to this many times its size, and this much in addition."""
MAX_DIRECTORY_BYTES, MAX_HEADER_BYTES = 32 << 20, 1 << 20
"""Of the list of members of a zip, and of one long name or pax header of a tar: they are read as a whole."""
READ_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods of compression for which zipfile bounds its output; of bzip2, a few bytes would expand to gigabytes."""
METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES"}
"""Names of others (APPNOTE.TXT 4.4.5), for the message."""
MEMORY_BYTES = 1 << 20
"""Members of a tar archive are read ahead of the decoding threads; larger ones wait in a temporary file."""
_LOCATOR_BYTES = 20
_EXTENDED = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)
"""Members of a tar that only describe the next one."""
TOO_MANY = "holds more than {:,} members; those behind are not scored"
EXPANDS = f"expands to more than {MAX_RATIO} times its size (a decompression bomb?); the rest is not read"


def _open(name: str) -> BinaryIO:
    return open(name, "rb")


def archive_members(
    name: str, skipped: Skipped | None = None, open_file: Callable[[str], IO[bytes]] = _open
) -> Iterator[NamedSource]:
    """The images in an archive, in its order, named `ARCHIVE::MEMBER`; what ends it early is one input with an error.

    Names are only names: `../x` is not a path. Links, devices, archives in the archive and files of operating systems
    are left out.

    Args:
        name: the archive.
        skipped: counts the members that are no images.
        open_file: opens it.
    """
    seen: Counter[str] = Counter()
    try:
        if text := refusal(name):
            raise ImageError(text, "unsupported")
        for member, size, open_member, error in (_zip if archive_kind(name) == "zip" else _tar)(open_file(name)):
            if is_system_path(member) or (error is None and is_system_file(member, partial(_head, open_member))):
                continue
            if not has_image_suffix(member):
                if skipped is not None:
                    skipped.add(member)
                continue
            seen[member] += 1
            path = f"{name}::{member}" + (f"#{seen[member]}" if seen[member] > 1 else "")
            if error is None and size > MAX_MEMBER_BYTES:
                error = ImageError(f"its {size:,} bytes are more than {MAX_MEMBER_BYTES:,}", "too_large")
            yield NamedSource(path, open_member, error)
    except ImageError as error:
        yield NamedSource(name, error=ImageError(f"the archive {error}", error.kind))
    except FileNotFoundError:
        yield NamedSource(name, error=ImageError("no such file", "missing"))
    except Exception as error:  # stores, decompressors, zipfile and tarfile raise exceptions of their own
        what = f"{type(error).__name__}: {printable(str(error))}"
        yield NamedSource(name, error=ImageError(f"the archive is damaged or cannot be read ({what})"))


def _head(open_member: Opener) -> bytes:
    with open_member() as stream:
        return stream.read(len(APPLE_DOUBLE))


def _zip(file: IO[bytes]) -> Iterator[tuple[str, int, Opener, ImageError | None]]:
    limit = FREE_BYTES + MAX_RATIO * file.seek(0, os.SEEK_END)
    _check_whole(file)
    bounded: Any = _BoundedReads(file)
    archive = zipfile.ZipFile(bounded)
    bounded.limit = MAX_MEMBER_BYTES
    for i, info in enumerate(archive.infolist()):
        if info.is_dir():
            continue
        size = max(info.file_size, info.compress_size)
        limit -= size
        if i >= MAX_MEMBERS or limit < 0:
            raise ImageError(TOO_MANY.format(MAX_MEMBERS) if i >= MAX_MEMBERS else EXPANDS, "too_large")
        error, method = None, METHODS.get(info.compress_type, f"method {info.compress_type}")
        if info.flag_bits & 1 or method == "AES":
            error = ImageError("is encrypted: unpack the archive first", "unsupported")
        elif info.compress_type not in READ_METHODS:
            error = ImageError(f"is compressed with {method}: unpack the archive first", "unsupported")
        yield _name_in_zip(info), size, partial(_open_in_zip, archive, info), error


def _check_whole(file: IO[bytes]) -> None:
    """Refuse a zip that ends on another disk than the first: zipfile would look for all members in its last part.

    The record at the end of the directory and Zip64's locator of it are those of APPNOTE.TXT 4.3.15 and 4.3.16.
    """
    file.seek(-min(file.seek(0, os.SEEK_END), _LOCATOR_BYTES + 22 + 0xFFFF), os.SEEK_END)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    locator = tail[max(at - _LOCATOR_BYTES, 0) : max(at, 0)]
    last = int.from_bytes(tail[at + 4 : at + 6], "little") if at >= 0 else 0
    if locator.startswith(b"PK\6\7"):
        last = int.from_bytes(locator[16:20], "little") - 1
    if last > 0:
        raise ImageError(SPLIT, "unsupported")


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    """A member's name. Bytes that are not UTF-8, as of Shift-JIS or CP866, are kept; no zip says what they mean."""
    if info.flag_bits & 0x800:
        return info.filename
    return info.orig_filename.encode("cp437").decode("utf-8", "surrogateescape").partition("\0")[0]


def _open_in_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> AbstractContextManager[BinaryIO]:
    with archive.open(info) as stream:  # checks the CRC at the stated size; read() would inflate what lies behind it
        return io.BytesIO(stream.read(info.file_size))


class _BoundedReads:
    """A file of which at most `limit` bytes are read at a time; only the directory of a zip is asked for at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.limit = file, MAX_DIRECTORY_BYTES

    def read(self, size: int = -1) -> bytes:
        if size > self.limit:
            raise ImageError(f"has a directory of {size:,} bytes, more than {self.limit:,}", "too_large")
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Header(tarfile.TarInfo):
    """A header of a tar archive; tarfile reads the content of those that belong to the next member as a whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
        header = super().frombuf(buf, encoding, errors)
        if header.size > MAX_HEADER_BYTES and header.type in _EXTENDED:
            raise ImageError(f"has a header of {header.size:,} bytes", "too_large")
        return header


def _tar(file: IO[bytes]) -> Iterator[tuple[str, int, Opener, ImageError | None]]:
    limited: Any = _Limited(file)
    limit = FREE_BYTES + MAX_RATIO * limited.size
    with file, tarfile.open(fileobj=limited, mode="r|", tarinfo=_Header) as archive:
        for i, member in enumerate(archive):
            if i >= MAX_MEMBERS:
                raise ImageError(TOO_MANY.format(MAX_MEMBERS), "too_large")
            if not member.isfile():
                continue
            wanted = has_image_suffix(member.name) and member.size <= MAX_MEMBER_BYTES
            limit -= member.size if wanted else 0  # holes of sparse members are not in the archive
            if limit < 0:
                raise ImageError(EXPANDS, "too_large")
            stream = archive.extractfile(member) if wanted else None
            held = io.BytesIO() if stream is None else _held(stream.read(), member.size)
            yield member.name, member.size, partial(_again, held), None
        # tarfile accepts any end of the file; only the end mark shows that nothing of the archive is missing.
        if archive.fileobj is not None and archive.fileobj.tell() < archive.offset + tarfile.BLOCKSIZE:
            raise ImageError("is damaged (it ends without its end mark)")


class _Limited:
    """The decompressed bytes of a file, as many as it may expand to."""

    def __init__(self, file: IO[bytes]) -> None:
        self.size = file.seek(0, os.SEEK_END)
        self._left = FREE_BYTES + MAX_RATIO * self.size
        file.seek(0)
        head = file.read(6)
        file.seek(0)
        self._file: Any = file
        if head.startswith(b"\x1f\x8b"):
            self._file = gzip.GzipFile(fileobj=file)
        elif head.startswith(b"BZh"):
            self._file = bz2.BZ2File(file)
        elif head == b"\xfd7zXZ\0":
            self._file = lzma.LZMAFile(file)  # noqa: SIM115

    def read(self, size: int) -> bytes:
        data: bytes = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ImageError(EXPANDS, "too_large")
        return data


def _held(data: bytes, size: int) -> BinaryIO:
    if size <= MEMORY_BYTES:
        return io.BytesIO(data)
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with its last reference, when the input is done
    file.write(data)
    return file


def _again(held: BinaryIO) -> AbstractContextManager[BinaryIO]:
    held.seek(0)
    return nullcontext(held)
