"""All facts about one image file's origin."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from PIL import Image

from .camera import camera
from .content_credentials import content_credentials
from .fact import Evidence
from .generator import excerpt, generators, named_generator
from .jpeg_quality import estimate_quality, is_standard
from .metadata import Metadata, read_metadata
from .source_type import source_type
from .xmp import read_xmp

MAX_FACTS = 8
"""Facts of one kind of source."""


def collect(file: BinaryIO, image: Image.Image | None) -> tuple[Evidence, ...]:
    """Read the facts that a file holds about its origin; nothing outside the file is opened, and nothing is raised.

    Args:
        file: a seekable binary file, searched for a C2PA manifest.
        image: what Pillow opened and loaded; None gives no facts.
    """
    if image is None:
        return ()
    facts: list[Evidence] = []
    try:
        metadata = read_metadata(file, image)
        xmp = read_xmp(metadata.xmp)
    except Exception:  # metadata is a stranger's, and none of it may cost the image its score
        return ()
    readers = (
        content_credentials(file, metadata, xmp.get("remote_manifest", "")), _declared(xmp),
        generators(metadata), _programs(metadata.exif, xmp), _camera(metadata.exif), _quality(metadata),
    )
    for reader in readers:
        try:
            facts.extend(islice(reader, MAX_FACTS))
        except Exception:
            continue
    return tuple(facts)


def _declared(xmp: dict[str, str]) -> Iterator[Evidence]:
    if xmp.get("source_type"):
        yield source_type(xmp["source_type"], "XMP Iptc4xmpExt:DigitalSourceType")
    if xmp.get("ai_system"):
        name = excerpt(xmp["ai_system"])
        yield Evidence("generator", "XMP Iptc4xmpExt:AISystemUsed", f"names the AI system {name}", name)


def _programs(exif: dict[str, str], xmp: dict[str, str]) -> Iterator[Evidence]:
    """The program that wrote the file: a generator where its name says so."""
    fields = (("EXIF Software", exif.get("software", "")), ("XMP xmp:CreatorTool", xmp.get("software", "")),
              ("XMP photoshop:Credit", xmp.get("credit", "")))
    seen: set[str] = set()
    for source, text in fields:
        name = named_generator(text)
        if name is not None:
            yield Evidence("generator", source, f'names {name}: "{excerpt(text)}"', name)
        elif text and text not in seen and not source.endswith("Credit"):
            seen.add(text)
            yield Evidence("software", source, f'was written by "{excerpt(text)}"', excerpt(text))


def _camera(exif: dict[str, str]) -> Iterator[Evidence]:
    fact = camera(exif)
    if fact is not None:
        yield fact


def _quality(metadata: Metadata) -> Iterator[Evidence]:
    if metadata.luminance:
        quality = estimate_quality(metadata.luminance)
        table = "a table of libjpeg" if is_standard(metadata.luminance) else "a table of another encoder"
        statement = f"JPEG quality about {quality} ({table})"
        yield Evidence("jpeg_quality", "JPEG quantisation table", statement, str(quality))
