"""IPTC-IIM: the older form of IPTC's metadata, in JPEG and TIFF."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image, IptcImagePlugin

from .text import decoded

FIELDS = {
    5: "Object Name", 25: "Keywords", 40: "Special Instructions", 65: "Originating Program", 80: "By-line",
    105: "Headline", 110: "Credit", 115: "Source", 116: "Copyright Notice", 120: "Caption",
}
"""Datasets of record 2 (IPTC-NAA Information Interchange Model 4.2)."""
MAX_FIELDS = 256
_IPTC_RESOURCE = b"8BIM\x04\x04"


def read_iptc(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the `FIELDS` in IIM itself, or in Photoshop's resources, of which 0x0404 holds IIM."""
    position = data.find(b"\x1c", max(data.find(_IPTC_RESOURCE), 0))
    for _ in range(MAX_FIELDS):
        if position < 0 or data[position : position + 1] != b"\x1c" or position + 5 > len(data):
            return
        record, number = data[position + 1], data[position + 2]
        start, length = position + 5, int.from_bytes(data[position + 3 : position + 5], "big")
        if length & 0x8000:  # an extended length, of text that is no credit line
            return
        position = start + length
        if record == 2 and number in FIELDS:
            yield FIELDS[number], decoded(data[start:position])


def iptc_of_tiff(image: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the `FIELDS` in the IPTC tag of a TIFF, which programs also write as numbers of 32 bits."""
    found = IptcImagePlugin.getiptcinfo(image) or {}  # type: ignore[arg-type]
    for (record, number), value in found.items():
        if record == 2 and number in FIELDS:
            for one in value if isinstance(value, list) else [value]:
                yield FIELDS[number], decoded(one)
