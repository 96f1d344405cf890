"""The inputs that a detector accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .decode import ImageSource


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
