"""Raw metadata of an image, from what Pillow read when it opened the file; within fixed limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from .exif import read_exif

MAX_PART = 1 << 20
"""Bytes or characters used of one part (EXIF, XMP, a text)."""
MAX_TEXTS = 64
"""Texts used of one file."""
MAX_FILE = 1 << 28
"""Larger files are not searched for a C2PA manifest, nor hashed to verify one."""
_BLOCK = 1 << 20

_XMP_TAG = 700
_MANIFEST_STORE = b"jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71"
"""Description box of a C2PA manifest store (C2PA 2.2, 11.1.4.2), which stands whole in the file in every format."""
C2PA_PLACES = {
    "JPEG": "JPEG APP11", "MPO": "JPEG APP11", "PNG": "PNG caBX", "WEBP": "WebP C2PA", "TIFF": "TIFF tag 52545",
    "HEIF": "HEIF uuid box", "AVIF": "HEIF uuid box",
}


@dataclass
class Metadata:
    """Raw metadata of one file.

    Attributes:
        mime: media type.
        exif: fields as `exif.read_exif` names them.
        xmp: an XMP packet, UTF-8; empty where there is none.
        texts: (place, keyword, text) of PNG text chunks and comments.
        c2pa: the place of a C2PA manifest; "" where there is none.
        luminance: luminance quantisation of a JPEG, 64 values row by row; empty for other files.
    """

    mime: str
    exif: dict[str, str]
    xmp: bytes
    texts: list[tuple[str, str, str]]
    c2pa: str
    luminance: list[int]


def read_metadata(file: BinaryIO, image: Image.Image) -> Metadata:
    """Collect the metadata of a file that Pillow has opened as `image` and loaded."""
    info, kind = image.info, image.format or ""
    texts = [("PNG text", key, value[:MAX_PART]) for key, value in info.items() if isinstance(value, str)]
    comments = [part for name, part in getattr(image, "applist", ()) if name == "COM"]
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or getattr(image, "tag_v2", {}).get(_XMP_TAG)
    luminance = list(getattr(image, "quantization", {}).get(0, ()))
    place = C2PA_PLACES.get(kind, "")
    return Metadata(
        mime=Image.MIME.get(kind, ""),
        exif=read_exif(image),
        xmp=(xmp.encode() if isinstance(xmp, str) else xmp or b"")[:MAX_PART],
        texts=[*(texts if kind == "PNG" else ()), *(
            ("JPEG comment", "", part[:MAX_PART].decode("utf-8", "replace")) for part in comments)][:MAX_TEXTS],
        c2pa=place if place and _has_manifest(file) else "",
        luminance=luminance if len(luminance) == 64 else [],
    )


def _has_manifest(file: BinaryIO) -> bool:
    file.seek(0)
    before = b""
    for _ in range(MAX_FILE // _BLOCK):
        block = file.read(_BLOCK)
        if _MANIFEST_STORE in before + block:
            return True
        if not block:
            return False
        before = block[-len(_MANIFEST_STORE) :]
    return False
