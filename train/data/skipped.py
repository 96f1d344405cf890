"""Files that are left out: each is recorded with its reason, and the first are named in the log."""

from __future__ import annotations

import logging
import os

from ...runtime.images.formats import has_image_suffix

log = logging.getLogger("cinemae.train")

SHOWN_SKIPS = 20
"""Skipped files named one by one in the log; the rest are counted (a million text files should not fill it)."""
Skipped = list[tuple[str, str]]
"""Path and reason of files that were left out; a file is never replaced by another sample."""


def skip(skipped: Skipped, path: str, reason: str) -> None:
    """Record a file that is left out, and name it in the log."""
    skipped.append((path, reason))
    if len(skipped) <= SHOWN_SKIPS:
        log.warning("skipped: %s", reason if path in reason else f"{path}: {reason}")
    elif len(skipped) == SHOWN_SKIPS + 1:
        log.warning("skipped: further files are not named")


def usable(path: str, skipped: Skipped, any_suffix: bool = False) -> bool:
    """Whether a file may be an image, without opening it; if not, the file is skipped with the reason."""
    if not any_suffix and not has_image_suffix(path):
        reason: str | None = "not an image (by its suffix)"
    else:
        try:
            reason = None if os.path.getsize(path) else "empty file"
        except (OSError, ValueError) as error:
            reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if reason:
        skip(skipped, path, reason)
    return reason is None
