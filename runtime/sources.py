"""The inputs that a detector accepts, and an input after decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .decode import ImageSource
from .evidence.fact import Evidence
from .preprocess import LoadedImage
from .records import Record


@dataclass(frozen=True)
class NamedSource:
    """An image with a name.

    Attributes:
        name: the record's `path`.
        source: the image.
        error: why the input cannot be used, where that is known already.
    """

    name: str
    source: ImageSource
    error: str | None = None


AnySource: TypeAlias = ImageSource | NamedSource
"""An input of the detector."""


@dataclass(frozen=True)
class Prepared:
    """One input after decoding; exactly one of `image`, `error` and `previous` is set.

    Attributes:
        name: the record's `path`.
        image: the network's input.
        error: why there is none.
        sha256: of the input's bytes, hex; None where there are no bytes.
        reasons: sentences that follow from the image alone.
        evidence: facts from the file's metadata.
        previous: the record of an earlier run, which a resumed run takes over without scoring.
    """

    name: str
    image: LoadedImage | None = None
    error: str | None = None
    sha256: str | None = None
    reasons: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    previous: Record | None = None
