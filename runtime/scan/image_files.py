"""Which files of a folder are images: by suffix, or by their first bytes."""

from __future__ import annotations

import os
import re

from ..core.errors import ImageError
from ..images.formats import VIDEO_SUFFIXES, has_image_suffix
from ..images.source import open_image_file
from ..images.video import can_read_video
from .system_files import is_system_file

RAW_SUFFIXES = frozenset((".arw", ".cr2", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"))
"""Camera raw files: most are TIFF files whose first picture is a thumbnail, which must not be scored instead."""

SIGNATURE_BYTES = 32
SIGNATURES = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|RIFF.{4}WEBP"
    rb"|II[*+]\0|MM\0[*+]"  # TIFF
    rb"|BM.{4}\0{4}"
    rb"|P[1-6]\s+[#\d]"  # PPM and its relatives
    rb"|\0{3}\x0cjP {2}\r\n\x87\n|\xff\x4f\xff\x51"  # JPEG 2000
    rb"|.{4}ftyp(avi[fs]|hei[cmsx]|hev[cmsx]|mif1|msf1)",  # AVIF and HEIF
    re.DOTALL,
)
"""The first bytes of every format in `preprocess.FORMATS` that has a signature (TGA and DIB have none)."""


def holds_image(path: str) -> bool:
    """Whether a file begins like an image; reads at most `SIGNATURE_BYTES`.

    Raises:
        ImageError, OSError: the file cannot be read.
    """
    with open_image_file(path, path) as file:
        return SIGNATURES.match(file.read(SIGNATURE_BYTES)) is not None


def is_video_file(path: str) -> bool:
    """Whether a name ends like a video's."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def is_image_file(path: str) -> bool:
    """Whether a file of a folder is an input. One that cannot be read and has no image's suffix is not.

    Videos are, where their frames can be read; files of operating systems are not.
    """
    if is_system_file(path):
        return False
    if has_image_suffix(path) or (is_video_file(path) and can_read_video()):
        return True
    try:
        return os.path.splitext(path)[1].lower() not in RAW_SUFFIXES and holds_image(path)
    except (ImageError, OSError):
        return False
