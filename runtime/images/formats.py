"""The formats of images and videos that are decoded: no other decoder is ever started."""

from __future__ import annotations

import functools
import os
from typing import BinaryIO

from PIL import Image

from ..core.environment import pip_install

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "HEIF", "TGA")
"""The only decoders used. Pillow knows many more, some of which start programs (EPS runs Ghostscript)."""

JPEG_FORMATS = ("JPEG", "MPO")
"""What Pillow calls a JPEG; MPO has further pictures behind the first."""

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib",
     ".avif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpf", ".jpx")
)
"""Suffixes of the files taken from a folder, in any case. A file that is named itself is read whatever its suffix."""

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
VIDEO_SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".3gp", ".webm", ".mkv", ".avi"))
NOT_VIDEO = (b"avif", b"avis", b"crx ", b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevm", b"hevx", b"jxl ",
             b"mif1", b"msf1")
"""Brands of still pictures in the container of MP4: AVIF, HEIF, Canon's raw files, JPEG XL."""
NO_HEIF = f"a HEIC image, as phones make them; reading it needs pillow-heif: {pip_install('formats')}"


@functools.cache
def usable_formats() -> tuple[str, ...]:
    """The members of `FORMATS` that this Pillow can decode; HEIF needs the extra `formats`."""
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def has_image_suffix(path: str) -> bool:
    """Whether a name ends like an image's."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def video_container(file: BinaryIO) -> str | None:
    """FFmpeg's name of the container that a file, at its start, is; None for no video."""
    head = file.read(16)
    file.seek(0)
    kind = head[4:8]
    if (kind == b"ftyp" and head[8:12] not in NOT_VIDEO) or kind in (b"moov", b"mdat", b"wide"):
        return "mov"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    return "avi" if head.startswith(b"RIFF") and head[8:12] == b"AVI " else None
