"""All facts about one image file's origin."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from os import PathLike
from typing import BinaryIO, get_args

from PIL import Image

from .content_credentials import content_credentials
from .fact import Evidence, EvidenceKind, Text, excerpt, raw
from .jpeg_quality import estimate_quality, is_standard
from .metadata import Metadata, read_metadata
from .source_type import declarations
from .writers import CAMERA_FIELDS, Found, generators, writers_of

ORDER = get_args(EvidenceKind)
MAX_FACTS = 16
"""Facts of one kind of source."""
_EXPOSURE = ("ExposureTime", "FNumber", "ISO")
_RAW = ("Make", "Model", "LensModel", "DateTimeOriginal", *_EXPOSURE)


def collect(
    file: BinaryIO, image: Image.Image | None, trust_lists: Sequence[str | PathLike[str]] = (),
    positions: bool = False,
) -> tuple[Evidence, ...]:
    """Read the facts that a file holds about its origin; nothing is fetched, and nothing is raised.

    Args:
        file: a seekable binary file.
        image: what Pillow opened and loaded; None for a video.
        trust_lists: files of certificates (PEM) whose signers are trusted.
        positions: the camera's fact gives the position, not only that there is one.
    """
    try:
        metadata = read_metadata(file, image)
        texts = metadata.texts
        found = list(writers_of(texts)) if texts else []
    except Exception:  # metadata is a stranger's, and none of it may cost the image its score
        return ()
    facts: list[Evidence] = []
    readers = [_quality(metadata)]
    if texts:
        readers += [declarations(texts), generators(found), _ai_systems(texts), _programs(texts, found)]
        readers.append(_camera(texts, found, positions))
    if texts or metadata.c2pa:
        readers.append(content_credentials(file, metadata, trust_lists))
    for reader in readers:
        try:
            facts.extend(islice(reader, MAX_FACTS))
        except Exception:
            continue
    return tuple(sorted(dict.fromkeys(facts), key=lambda fact: ORDER.index(fact.kind)))


def _ai_systems(texts: Sequence[Text]) -> Iterator[Evidence]:
    for text in texts:
        if text.key == "AISystemUsed":
            name = excerpt(text.text)
            yield Evidence("generator", text.source, f"The file names the AI system {name}", name, raw=raw(text.text),
                           declares="ai")


def _programs(texts: Sequence[Text], found: Sequence[Found]) -> Iterator[Evidence]:
    """The programs that wrote the file and are no generators."""
    known = {one.text.text for one in found}
    for text in texts:
        if text.key in ("Software", "CreatorTool") and text.text not in known:
            known.add(text.text)
            name = excerpt(text.text)
            yield Evidence("software", text.source, f'The file was written by "{name}"', name, raw=raw(text.text))


def _camera(texts: Sequence[Text], found: Sequence[Found], positions: bool = False) -> Iterator[Evidence]:
    """Yield the fact that the metadata names a camera; nothing where a generator is named in its place.

    `positions` puts latitude and longitude into `raw`; else the statement only says that there is a position.
    """
    if any(one.text.key in CAMERA_FIELDS for one in found):
        return
    fields = {text.key: text for text in reversed(texts) if text.source.startswith(("EXIF", "XMP tiff:"))}
    make, model = (excerpt(fields[name].text) if name in fields else "" for name in ("Make", "Model"))
    if not (make or model) or "{" in make + model:
        return
    name = model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    parts = [f"The file names the camera {name}"]
    if "DateTimeOriginal" in fields:
        taken = re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", fields["DateTimeOriginal"].text)
        parts.append(f"taken {excerpt(taken)}")
    if "LensModel" in fields:
        parts.append(f"lens {excerpt(fields['LensModel'].text)}")
    if fields.keys() & set(_EXPOSURE):
        parts.append("with exposure settings")
    if "GPS" in fields:
        parts.append("with a position")
    first = fields["Model" if "Model" in fields else "Make"]
    shown = "\n".join(f"{key}: {fields[key].text}" for key in (*_RAW, *["GPS"] * positions) if key in fields)
    yield Evidence("camera", first.source.split()[0], ", ".join(parts), name, raw(shown))


def _quality(metadata: Metadata) -> Iterator[Evidence]:
    if metadata.luminance:
        quality = estimate_quality(metadata.luminance)
        table = "a table of libjpeg" if is_standard(metadata.luminance) else "a table of another encoder"
        statement = f"The file has JPEG quality {quality}, estimated from {table}"
        yield Evidence("jpeg_quality", "JPEG quantisation table", statement, str(quality))
