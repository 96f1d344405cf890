"""What the name of an input stands for, by the name alone: an archive, a pattern, a URL."""

from __future__ import annotations

import re
from typing import Literal

ZIP_SUFFIXES, TAR_SUFFIXES = (".zip",), (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_GLOB = re.compile(r"[*?\[]")
_URL = re.compile(r"https?://", re.IGNORECASE)


def archive_kind(name: str) -> Literal["zip", "tar"] | None:
    """The kind of archive that a name ends like; None for others."""
    lower = name.lower()
    return "zip" if lower.endswith(ZIP_SUFFIXES) else "tar" if lower.endswith(TAR_SUFFIXES) else None


def is_glob(name: str) -> bool:
    """Whether `name` may be a pattern."""
    return _GLOB.search(name) is not None


def is_web_url(name: str) -> bool:
    """Whether a name is an http or https URL."""
    return _URL.match(name) is not None
