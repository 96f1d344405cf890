"""What the name of an input stands for, by the name alone: an archive, a pattern, a URL, a local file."""

from __future__ import annotations

import os
import re
from typing import Literal
from urllib.parse import unquote

_TARS = r"tar|tar\.gz|tgz|tar\.bz2|tbz2|tar\.xz|txz"
_ZIP, _TAR = re.compile(r"\.zip\Z", re.IGNORECASE), re.compile(rf"\.({_TARS})\Z", re.IGNORECASE)
SPLIT = "is split: join its parts first, with `zip -s 0 NAME.zip --out WHOLE.zip`"
_REFUSED = (
    (re.compile(r"\.z\d\d+\Z", re.IGNORECASE), SPLIT),  # the last part of those is NAME.zip
    (re.compile(rf"\.(zip|{_TARS})\.\d{{3,}}\Z", re.IGNORECASE),
     "is cut into parts: join them first, with `cat NAME.001 NAME.002 ... > NAME`"),
    (re.compile(r"\.(7z|rar)(\.\d{3,})?\Z", re.IGNORECASE),
     "is of a kind that is not read: unpack it first, with `7z x NAME`"),
)
_GLOB = re.compile(r"[*?\[]")
_FILE_URL = re.compile(r"file://(localhost)?(?=/)", re.IGNORECASE)
_DRIVE = re.compile(r"/[A-Za-z]:")
_URL = re.compile(r"https?://", re.IGNORECASE)


def archive_kind(name: str) -> Literal["zip", "tar", "refused"] | None:
    """The kind of archive, or of a part of it, that a name ends like; None for others."""
    return "zip" if _ZIP.search(name) else "tar" if _TAR.search(name) else "refused" if refusal(name) else None


def refusal(name: str) -> str | None:
    """What to do first with an archive that is not read, or a part of it, such as `photos.z01`; None for others."""
    return next((text for pattern, text in _REFUSED if pattern.search(name)), None)


def is_glob(name: str) -> bool:
    """Whether `name` may be a pattern."""
    return _GLOB.search(name) is not None


def is_web_url(name: str) -> bool:
    """Whether a name is an http or https URL."""
    return _URL.match(name) is not None


def local_path(name: str) -> str:
    """The path that a file URL such as `file:///a%20b.png` names (RFC 8089); any other name as it is."""
    url = _FILE_URL.match(name)
    if url is None:
        return name
    path = unquote(name[url.end() :], errors="surrogateescape")
    return path[1:] if os.sep == "\\" and _DRIVE.match(path) else path
