"""The XMP properties that evidence needs; a packet with a document type or too much structure is refused."""

from __future__ import annotations

import codecs
from contextlib import suppress
from xml.parsers import expat

MAX_PACKET = 1 << 22
"""Bytes of one packet; extended XMP is larger than a JPEG segment."""
MAX_ELEMENTS = 20_000
MAX_DEPTH = 64
MAX_VALUE = 1 << 16
"""Characters of one value."""
MAX_PROPERTIES = 256

NAMES = {
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": (
        "Iptc4xmpExt", "DigitalSourceType DigitalSourcefileType DigitalSourceFileType AISystemUsed"),
    "http://ns.adobe.com/xap/1.0/": ("xmp", "CreatorTool"),
    "http://ns.adobe.com/photoshop/1.0/": ("photoshop", "Credit Source Instructions Headline"),
    "http://purl.org/dc/elements/1.1/": ("dc", "creator description title source rights"),
    "http://purl.org/dc/terms/": ("dcterms", "provenance"),
    "http://ns.adobe.com/tiff/1.0/": ("tiff", "Make Model Artist Software ImageDescription"),
    "http://ns.adobe.com/exif/1.0/": ("exif", "UserComment"),
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": ("stEvt", "softwareAgent"),
    "http://www.tc260.org.cn/ns/AIGC/1.0/": ("TC260", "AIGC Label"),
}
"""Namespace -> (usual prefix, properties): IPTC Photo Metadata 2025.1, XMP Part 1 and 2, the remote manifest of C2PA,
and China's label (TC260-PG-20258A)."""
PROPERTIES = {
    f"{space} {name}": f"{prefix}:{name}" for space, (prefix, names) in NAMES.items() for name in names.split()
}
_PANTRY = "http://ns.adobe.com/xap/1.0/mm/ Pantry"
"""Holds the packets of other files that were placed in this one."""
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (b"<\0\0\0", "utf-32-le"), (b"\0\0\0<", "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"),
)
"""First bytes of a packet that is not UTF-8 (XMP Part 1, 7.1)."""


class _RefusedError(ValueError):
    """The packet is not one that a camera or an editor writes."""


def read_xmp(packet: bytes) -> list[tuple[str, str]]:
    """Read (name, text) of the properties of `NAMES`; a refused or damaged packet gives those before the damage.

    Entities are never expanded, nothing outside the packet is opened, and size, depth and elements are limited.
    """
    found: list[tuple[str, str]] = []
    depth = elements = others = 0
    inside: list[tuple[int, str, list[str]]] = []

    def keep(name: str, value: str) -> None:
        if value.strip() and len(found) < MAX_PROPERTIES:
            found.append((name, value[:MAX_VALUE].strip()))

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements, others
        depth, elements = depth + 1, elements + 1
        if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
            raise _RefusedError
        others = others or (depth if name == _PANTRY else 0)
        if others:
            return
        for key, value in attributes.items():
            if key in PROPERTIES:
                keep(PROPERTIES[key], value)
        if name in PROPERTIES:
            inside.append((depth, PROPERTIES[name], [attributes.get(_RDF + "resource", "")]))
        elif inside and name == _RDF + "li" and "".join(inside[-1][2]).strip():
            inside[-1][2].append(", ")

    def end(name: str) -> None:
        nonlocal depth, others
        depth -= 1
        others = 0 if depth < others else others
        if inside and inside[-1][0] > depth:
            _, kept, parts = inside.pop()
            keep(kept, "".join(parts))

    def text(data: str) -> None:
        if inside and len(inside[-1][2]) < MAX_ELEMENTS:
            inside[-1][2].append(data)

    def refuse(*_: object) -> None:
        raise _RefusedError

    parser = expat.ParserCreate("utf-8", " ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    with suppress(_RefusedError, expat.ExpatError, ValueError):
        parser.Parse(_utf8(packet[:MAX_PACKET]), True)
    return found


def _utf8(packet: bytes) -> bytes:
    packet = packet.removeprefix(codecs.BOM_UTF8)
    encoding = next((name for mark, name in _ENCODINGS if packet.startswith(mark)), None)
    packet = packet.decode(encoding, "replace").encode() if encoding else packet
    return packet[max(packet.find(b"<"), 0) :].rstrip(b"\0 \r\n")
