"""One fact about an image's origin, and the texts of a file's metadata from which facts are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from ..core.text import printable

EvidenceKind = Literal["source_type", "generator", "content_credentials", "software", "camera", "jpeg_quality"]
"""In the order of a record: first what the file declares, then who vouches for it."""
Declared = Literal["ai", "composite", "camera"]

MAX_EXCERPT = 160
MAX_RAW = 2000
"""Characters of `Evidence.raw`."""

_CONFIG = ConfigDict(json_schema_serialization_defaults_required=True, use_attribute_docstrings=True)


@dataclass(frozen=True, config=_CONFIG)
class Trust:
    """What vouches for a declaration in Content Credentials: four answers, none of which stands for another."""

    signer: str
    """Name in the certificate; only as certain as the other answers."""
    signature: Literal["valid", "invalid"]
    """Whether the signature is intact and the content is what was signed."""
    listing: Literal["listed", "interim", "unlisted", "unchecked"]
    """Whether the certificate comes from a trust list; interim: from the list that was frozen in January 2026;
    unchecked: no list was given."""
    time: Literal["stamped", "stamp_unlisted", "unstamped", "outside"]
    """Whether the certificate was valid at the time of signing. stamped: by a time stamp; stamp_unlisted: by one of an
    authority on no list; unstamped: nothing tells; outside: it was not."""
    revocation: Literal["not_revoked", "revoked", "unchecked"]
    """Whether the certificate was revoked, by an answer of its issuer in the file."""


@dataclass(frozen=True, config=_CONFIG)
class Evidence:
    """A statement that the image's own file makes, and where in the file it stands. It never changes the score."""

    kind: EvidenceKind
    """source_type: a declaration of how the image was made; generator: a generator's name or parameters;
    content_credentials: a C2PA manifest and what vouches for it; software: the program that wrote the file; camera: the
    camera that metadata names; jpeg_quality: estimated from tables."""
    source: str
    """Place in the file, such as "PNG text 'parameters'"."""
    statement: str
    """One sentence for people; text out of the file is cut and made printable."""
    value: str | None = None
    """The same for programs, such as "trainedAlgorithmicMedia", "valid" or "92"."""
    raw: str | None = None
    """The text as it stands in the file, its first 2,000 characters, made printable."""
    declares: Declared | None = None
    """What the file says of the image itself: ai: a generator made it; composite: parts of it; camera: a camera took
    it; null: nothing of these."""
    trust: Trust | None = None
    """Of a fact in Content Credentials that were verified; null: anyone can have written the fact."""


@dataclasses.dataclass(frozen=True)
class Text:
    """A text of a file's metadata.

    Attributes:
        source: its place for people, such as "PNG text 'parameters'" or "XMP xmp:CreatorTool".
        key: the name of its field without that of its container, such as "CreatorTool"; "" for a comment.
        text: the text.
    """

    source: str
    key: str
    text: str


def decoded(data: bytes) -> str:
    """Text of no stated encoding: UTF-8, or Latin-1 where it is not."""
    try:
        return data.decode("utf-8").strip("\0 ")
    except UnicodeDecodeError:
        return data.decode("latin-1").strip("\0 ")


def declares_ai(evidence: Iterable[Evidence]) -> bool:
    """Whether a file says that a generator made it, by a declaration or by a generator's own parameters."""
    return any(fact.declares == "ai" for fact in evidence)


def excerpt(text: str) -> str:
    """The start of a text on one printable line."""
    line = printable(" ".join(text[: 4 * MAX_EXCERPT].split()))
    return line if len(line) <= MAX_EXCERPT else f"{line[:MAX_EXCERPT]}..."


def raw(text: str) -> str:
    """The start of a text as `Evidence.raw` gives it: printable but for the ends of its lines."""
    return "\n".join(map(printable, text[:MAX_RAW].splitlines()))[:MAX_RAW]
