"""The texts of an image's metadata, from what Pillow read when it opened the file; within fixed limits."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from PIL import Image, IptcImagePlugin, PngImagePlugin

from .exif import read_exif
from .fact import Text, decoded
from .xmp import MAX_PACKET, read_xmp

MAX_PART = 1 << 20
"""Bytes or characters used of one part (a text, IPTC, a segment)."""
MAX_TEXTS = 512
"""Texts used of one file."""
MAX_PACKETS = 16
"""XMP packets read of one file."""
MAX_FILE = 1 << 28
"""Bytes of a file that are searched for what Pillow does not hand over."""
_BLOCK = 1 << 20

_EXIF, _XMP, _EXTENSION = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_XMP_TAG, _PHOTOSHOP_TAG = 700, 34377
_PROFILE = "Raw profile type "
"""Begins the keyword of ImageMagick's and ExifTool's profiles in PNG text: name, length, hexadecimal digits."""

_MARKS = (b"jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71", b"<?xpacket begin=", b"<x:xmpmeta", b"AIGC{")
"""What is searched for in the file itself: the description box of a C2PA manifest store (C2PA 2.2, 11.1.4.2), XMP where
Pillow gives none, and China's label in a segment or chunk of its own (TC260-PG-20258A)."""
C2PA_PLACES = {
    "JPEG": ("image/jpeg", "JPEG APP11"), "MPO": ("image/jpeg", "JPEG APP11"), "PNG": ("image/png", "PNG caBX"),
    "WEBP": ("image/webp", "WebP C2PA"), "TIFF": ("image/tiff", "TIFF tag 52545"),
    "GIF": ("image/gif", "GIF application extension"), "HEIF": ("image/heif", "HEIF uuid box"),
    "AVIF": ("image/avif", "HEIF uuid box"), "JXL": ("image/jxl", "JPEG XL jumb box"),
    "AVI": ("video/avi", "AVI C2PA chunk"), "": ("video/mp4", "MP4 uuid box"),
}
"""Pillow's name of a format, or what video it is -> media type, and where the manifest stands."""


IPTC_FIELDS = {
    5: "Object Name", 25: "Keywords", 40: "Special Instructions", 65: "Originating Program", 80: "By-line",
    105: "Headline", 110: "Credit", 115: "Source", 116: "Copyright Notice", 120: "Caption",
}
"""Datasets of record 2 (IPTC-NAA Information Interchange Model 4.2)."""
MAX_IPTC_FIELDS = 256
_IPTC_RESOURCE = b"8BIM\x04\x04"


@dataclass
class Metadata:
    """Metadata of one file.

    Attributes:
        texts: all texts with their places.
        c2pa: media type of the file, place and bytes of its C2PA manifest store; None where there is none.
        luminance: luminance quantisation of a JPEG, 64 values row by row; empty for other files.
    """

    texts: list[Text] = field(default_factory=list)
    c2pa: tuple[str, str, int] | None = None
    luminance: list[int] = field(default_factory=list)

    def add(self, source: str, pairs: Iterable[tuple[str, str]]) -> None:
        """Add (name, text) pairs of one place, up to `MAX_TEXTS` in all; what a damaged part gave before stands."""
        with suppress(Exception):
            for name, text in islice(pairs, max(MAX_TEXTS - len(self.texts), 0)):
                self.texts.append(Text(f"{source} {name}".strip(), name.rpartition(":")[2], text[:MAX_PART]))


def read_metadata(file: BinaryIO, image: Image.Image | None) -> Metadata:
    """Collect the metadata of a file that Pillow has opened as `image` and loaded; None for a video."""
    found, packets = Metadata(), []
    kind = (image.format or "") if image is not None else _read(file, 8, 4).decode("latin-1").strip()
    if image is not None:
        if exif := image.getexif():
            found.add("EXIF", read_exif(exif))
        packets = list(_pillow_parts(image, found))
        luminance = list(getattr(image, "quantization", {}).get(0, ()))
        found.luminance = luminance if len(luminance) == 64 else []
    manifest, *starts, label = _find_marks(file)
    if not packets:
        packets = [_read(file, start, MAX_PACKET) for start in starts if start >= 0][:1]
    for packet in packets[:MAX_PACKETS]:
        found.add("XMP", read_xmp(packet))
    if label >= 0:
        data = _read(file, label, 4096).decode("utf-8", "replace")
        found.texts.append(Text(f"{kind} AIGC", "AIGC", data[: data.find("}") + 1]))
    if manifest >= 0:
        size = int.from_bytes(_read(file, max(manifest - 12, 0), 4), "big")  # of the box around the description box
        found.c2pa = (*C2PA_PLACES.get(kind, C2PA_PLACES[""]), size)
    return found


def _pillow_parts(image: Image.Image, found: Metadata) -> Iterator[bytes]:
    """Add the texts and IPTC that Pillow holds; yield XMP packets."""
    info, tags = image.info, getattr(image, "tag_v2", {})
    if image.format == "PNG":
        for key, value in info.items():
            if not isinstance(value, str) or not isinstance(key, str):
                continue
            if key == "XML:com.adobe.xmp":
                yield _text_bytes(value)
            elif key.startswith(_PROFILE):
                yield from _profile(key, value, found)
            elif len(found.texts) < MAX_TEXTS:
                text = _text_bytes(value[:MAX_PART]).decode("utf-8", "replace")
                found.texts.append(Text(f"PNG text {key!r}", key, text))
    elif isinstance(comment := info.get("comment"), bytes) and image.format not in ("JPEG", "MPO"):
        found.add(f"{image.format} comment", [("", decoded(comment))])
    segments = getattr(image, "applist", [])
    found.add("JPEG comment", (("", decoded(data)) for name, data in segments if name == "COM"))
    packets = [data[len(_XMP) :] for name, data in segments if name == "APP1" and data.startswith(_XMP)]
    yield from packets
    yield from _extended(data[len(_EXTENSION) :] for _, data in segments if data.startswith(_EXTENSION))
    if not packets and isinstance(xmp := info.get("xmp") or tags.get(_XMP_TAG), bytes):
        yield xmp
    iptc = b"".join(data[len(_PHOTOSHOP) :] for _, data in segments if data.startswith(_PHOTOSHOP))
    of_tag = tags.get(_PHOTOSHOP_TAG)
    for data in (iptc, of_tag):
        if data and isinstance(data, bytes):
            found.add("IPTC", read_iptc(data[:MAX_PART]))
    if tags:
        found.add("IPTC", _iptc_of_tiff(image))


def read_iptc(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the `IPTC_FIELDS` in IIM itself, or in Photoshop's resources, of which 0x0404 holds IIM."""
    position = data.find(b"\x1c", max(data.find(_IPTC_RESOURCE), 0))
    for _ in range(MAX_IPTC_FIELDS):
        if position < 0 or data[position : position + 1] != b"\x1c" or position + 5 > len(data):
            return
        record, number = data[position + 1], data[position + 2]
        start, length = position + 5, int.from_bytes(data[position + 3 : position + 5], "big")
        if length & 0x8000:  # an extended length, of text that is no credit line
            return
        position = start + length
        if record == 2 and number in IPTC_FIELDS:
            yield IPTC_FIELDS[number], decoded(data[start:position])


def _iptc_of_tiff(image: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the `IPTC_FIELDS` in a TIFF's IPTC tag, which programs also write as 32-bit numbers."""
    found = IptcImagePlugin.getiptcinfo(image) or {}  # type: ignore[arg-type]
    for (record, number), value in found.items():
        if record == 2 and number in IPTC_FIELDS:
            for one in value if isinstance(value, list) else [value]:
                yield IPTC_FIELDS[number], decoded(one)


def _text_bytes(value: str) -> bytes:
    """A PNG text as UTF-8: Pillow decodes tEXt and zTXt as Latin-1, and many programs write UTF-8 into them."""
    if not isinstance(value, PngImagePlugin.iTXt):
        with suppress(UnicodeError):
            data = value.encode("latin-1")
            data.decode("utf-8")
            return data
    return value.encode("utf-8", "replace")


def _profile(key: str, value: str, found: Metadata) -> Iterator[bytes]:
    """Read one of ImageMagick's raw profiles; yield it if it is XMP."""
    name = key[len(_PROFILE) :].lower()
    with suppress(ValueError):
        data = bytes.fromhex(re.sub(r"\s+", "", value.split("\n", 3)[-1][: 2 * MAX_PART]))
        if name in ("exif", "app1") and not data.startswith(_XMP):
            exif = Image.Exif()
            with suppress(Exception):  # as in `read_exif`
                exif.load(data)
            found.add("EXIF", read_exif(exif))
        elif name in ("iptc", "8bim", "app13"):
            found.add("IPTC", read_iptc(data))
        elif name in ("xmp", "app1"):
            yield data.removeprefix(_XMP)


def _extended(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join the parts of extended XMP (XMP Part 3, 1.1.3.1): name of the packet (32 bytes), length, offset, data."""
    packets: dict[bytes, list[tuple[int, bytes]]] = {}
    for part in parts:
        if len(part) > 40 and len(packets) < MAX_PACKETS:
            packets.setdefault(part[:32], []).append((struct.unpack_from(">I", part, 36)[0], part[40:]))
    for pieces in packets.values():
        yield b"".join(data for _, data in sorted(pieces))[:MAX_PACKET]


def _find_marks(file: BinaryIO) -> list[int]:
    """Where each of `_MARKS` first occurs in the file; -1 where it does not."""
    found, before, position = [-1] * len(_MARKS), b"", 0
    file.seek(0)
    while position < MAX_FILE and (block := file.read(_BLOCK)):
        part = before + block
        for index, mark in enumerate(_MARKS):
            if found[index] < 0 and (place := part.find(mark)) >= 0:
                found[index] = position - len(before) + place
        before, position = part[-32:], position + len(block)
    return found


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
