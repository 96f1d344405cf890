"""All facts about one image file's origin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from os import PathLike
from typing import BinaryIO, get_args

from PIL import Image

from .camera import camera
from .content_credentials import content_credentials
from .fact import Evidence, EvidenceKind, excerpt, raw
from .jpeg_quality import estimate_quality, is_standard
from .metadata import Metadata, read_metadata
from .source_type import declarations
from .text import Text
from .writers import Found, generators, writers_of

ORDER = get_args(EvidenceKind)
MAX_FACTS = 16
"""Facts of one kind of source."""


def collect(
    file: BinaryIO, image: Image.Image | None, trust_lists: Sequence[str | PathLike[str]] = ()
) -> tuple[Evidence, ...]:
    """Read the facts that a file holds about its origin; nothing is fetched, and nothing is raised.

    Args:
        file: a seekable binary file.
        image: what Pillow opened and loaded; None for a video.
        trust_lists: files of certificates (PEM) whose signers are trusted.
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
        readers.append(camera(texts, found))
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


def _quality(metadata: Metadata) -> Iterator[Evidence]:
    if metadata.luminance:
        quality = estimate_quality(metadata.luminance)
        table = "a table of libjpeg" if is_standard(metadata.luminance) else "a table of another encoder"
        statement = f"The file has JPEG quality {quality}, estimated from {table}"
        yield Evidence("jpeg_quality", "JPEG quantisation table", statement, str(quality))
