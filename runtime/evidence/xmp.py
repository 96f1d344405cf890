"""The few XMP properties that evidence needs; a packet with a document type or too much structure is refused."""

from __future__ import annotations

from contextlib import suppress
from xml.parsers import expat

from .metadata import MAX_PART

MAX_ELEMENTS = 20_000
MAX_DEPTH = 64
MAX_VALUE = 2000
"""Characters of one value."""

_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
PROPERTIES = {
    f"{_IPTC} DigitalSourceType": "source_type",
    f"{_IPTC} AISystemUsed": "ai_system",
    "http://ns.adobe.com/xap/1.0/ CreatorTool": "software",
    "http://ns.adobe.com/photoshop/1.0/ Credit": "credit",
    "http://purl.org/dc/terms/ provenance": "remote_manifest",
}
"""Expanded names of IPTC Photo Metadata 2025.1, XMP Part 1, and the remote manifest of C2PA."""
_RESOURCE = "http://www.w3.org/1999/02/22-rdf-syntax-ns# resource"
_MARKS = tuple(name.rpartition(" ")[2].encode() for name in PROPERTIES)


class _RefusedError(ValueError):
    """The packet is not one that a camera or an editor writes."""


def read_xmp(packet: bytes) -> dict[str, str]:
    """Read the properties of `PROPERTIES` by their short names; a refused or damaged packet gives those before it.

    Entities are never expanded, nothing outside the packet is opened, and size, depth and elements are limited.
    """
    found: dict[str, str] = {}
    if len(packet) > MAX_PART or not any(mark in packet for mark in _MARKS):
        return found
    depth = elements = 0
    inside: list[tuple[int, str]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
            raise _RefusedError
        for key, value in attributes.items():
            if key in PROPERTIES:
                found.setdefault(PROPERTIES[key], value[:MAX_VALUE].strip())
        if name in PROPERTIES:
            inside.append((depth, PROPERTIES[name]))
            if attributes.get(_RESOURCE):
                found.setdefault(PROPERTIES[name], attributes[_RESOURCE][:MAX_VALUE].strip())

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        if inside and inside[-1][0] > depth:
            inside.pop()

    def text(data: str) -> None:
        if inside and data.strip() and len(found.get(inside[-1][1], "")) < MAX_VALUE:
            found[inside[-1][1]] = found.get(inside[-1][1], "") + data.strip()

    def refuse(*_: object) -> None:
        raise _RefusedError

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    with suppress(_RefusedError, expat.ExpatError, ValueError):
        parser.Parse(packet.rstrip(b"\0"), True)
    return found
