"""One fact about an image's origin."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

EvidenceKind = Literal["content_credentials", "source_type", "generator", "software", "camera", "jpeg_quality"]


@dataclass(frozen=True, config=ConfigDict(json_schema_serialization_defaults_required=True,
                                          use_attribute_docstrings=True))
class Evidence:
    """A statement that the image's own file makes, and where in the file it stands. It never changes the score."""

    kind: EvidenceKind
    """content_credentials: a C2PA manifest; source_type: an IPTC digital source type; generator: a generator's name or
    parameters; software: the program that wrote the file; camera: camera EXIF; jpeg_quality: estimated from tables."""
    source: str
    """Where it was read, such as "PNG text 'parameters'"."""
    statement: str
    """One sentence for people; text out of the file is cut and made printable."""
    value: str | None = None
    """The same for programs, such as "trainedAlgorithmicMedia", "valid" or "92"."""
