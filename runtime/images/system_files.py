"""Files of operating systems and file servers: thumbnails, deleted files, resource forks. They are nobody's images.

Every walk, pattern, archive and listing leaves them out. A file that is named is read whatever its name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from .source import open_image_file

FOLDERS = re.compile(
    r"__MACOSX|\.AppleDouble|\.Spotlight-V100|\.fseventsd|\.Trashes|\.Trash(-\d+)?"  # macOS, freedesktop.org's trash
    r"|@eaDir|#recycle|#snapshot|@Recycle|@Recently-Snapshot"  # Synology, QNAP
    r"|\$RECYCLE\.BIN|System Volume Information|lost\+found",  # Windows, ext
    re.IGNORECASE,
)
FILES = re.compile(r"\.DS_Store|\.localized|Thumbs\.db|ehthumbs(_vista)?\.db|desktop\.ini", re.IGNORECASE)
APPLE_DOUBLE = b"\x00\x05\x16\x07"
"""The first bytes of a resource fork, which macOS writes beside `NAME` as `._NAME` (RFC 1740)."""
_SEPARATOR = re.compile(r"[/\\]" if os.sep == "\\" else "/")


def is_system_name(name: str) -> bool:
    """Whether one name, without folders, is that of a system's file or folder; `._NAME` needs a look inside."""
    return FOLDERS.fullmatch(name) is not None or FILES.fullmatch(name) is not None


def is_system_path(path: str, named: str = "") -> bool:
    """Whether a part of a path is a system's, but for the parts that the user wrote in `named`."""
    wrote = set(_SEPARATOR.split(named))
    return any(is_system_name(part) for part in _SEPARATOR.split(path) if part not in wrote)


def is_system_file(path: str, read_head: Callable[[], bytes] | None = None) -> bool:
    """Whether a file is a system's own, by its name or, of `._NAME`, by its first bytes.

    Args:
        path: the file; its folders do not count.
        read_head: gives its first bytes, at least 4; None reads them from `path`. Called for `._NAME` alone.
    """
    name = _SEPARATOR.split(path)[-1]
    if is_system_name(name):
        return True
    if not name.startswith("._"):
        return False
    try:
        return (read_head or (lambda: _head(path)))().startswith(APPLE_DOUBLE)
    except Exception:  # what cannot be read is reported by its reader
        return False


def _head(path: str) -> bytes:
    with open_image_file(path, path) as file:
        return file.read(len(APPLE_DOUBLE))
