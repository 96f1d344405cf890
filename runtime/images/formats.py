"""The formats of images and videos that are decoded, and which files hold them: by suffix, or by their first bytes."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
from contextlib import suppress
from typing import BinaryIO

from PIL import Image

from ..core.environment import pip_install
from ..core.errors import ImageError
from .source import open_image_file
from .system_files import is_system_file

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "HEIF", "JXL", "TGA")
"""The only decoders used. Pillow knows many more, some of which start programs (EPS runs Ghostscript)."""

JPEG_FORMATS = ("JPEG", "MPO")
"""What Pillow calls a JPEG; MPO has further pictures behind the first."""

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib",
     ".avif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpf", ".jpx", ".jxl")
)
"""Suffixes of the files taken from a folder, in any case. A file that is named itself is read whatever its suffix."""

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
VIDEO_SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".3gp", ".webm", ".mkv", ".avi"))
NOT_VIDEO = (b"avif", b"avis", b"crx ", b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevm", b"hevx", b"jxl ",
             b"mif1", b"msf1")
"""Brands of still pictures in the container of MP4: AVIF, HEIF, Canon's raw files, JPEG XL."""
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
    rb"|\0{3}\x0cJXL \r\n\x87\n"  # JPEG XL, in a container
    rb"|\0{3}\x0cjP {2}\r\n\x87\n|\xff\x4f\xff\x51"  # JPEG 2000
    rb"|.{4}ftyp(avi[fs]|hei[cmsx]|hev[cmsx]|mif1|msf1)",  # AVIF and HEIF
    re.DOTALL,
)
"""The first bytes of every format in `FORMATS` that has a signature (TGA and DIB have none)."""
NO_HEIF = f"a HEIC image, as phones make them; reading it needs pillow-heif: {pip_install('formats')}"


@functools.cache
def usable_formats() -> tuple[str, ...]:
    """The members of `FORMATS` that this Pillow can decode; HEIF needs the extra `formats`, JXL pillow-jxl-plugin."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    with suppress(ImportError):
        from pillow_jxl import JpegXLImagePlugin

        JpegXLImagePlugin.DECODE_THREADS = 0  # images are decoded side by side already
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


@functools.cache
def can_read_video() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def holds_image(path: str) -> bool:
    """Whether a file begins like an image; reads at most `SIGNATURE_BYTES`.

    Raises:
        ImageError, OSError: the file cannot be read.
    """
    with open_image_file(path, path) as file:
        return SIGNATURES.match(file.read(SIGNATURE_BYTES)) is not None


def is_image_file(path: str) -> bool:
    """Whether a file of a folder is an input. One that cannot be read and has no image's suffix is not.

    Videos are, where their frames can be read; files of operating systems are not.
    """
    if is_system_file(path):
        return False
    suffix = os.path.splitext(path)[1].lower()
    if suffix in IMAGE_SUFFIXES or (suffix in VIDEO_SUFFIXES and can_read_video()):
        return True
    try:
        return suffix not in RAW_SUFFIXES and holds_image(path)
    except (ImageError, OSError):
        return False
