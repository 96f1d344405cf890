"""The inputs that a detector accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..core.errors import ImageError
from .decode import ImageSource


@dataclass(frozen=True)
class NamedSource:
    """An image with a name: a file of a folder, a member of an archive, an upload.

    Attributes:
        name: the record's `path`.
        source: the image; None for the file `name`.
        error: why the input cannot be used, where that is known already.
    """

    name: str
    source: ImageSource | None = None
    error: ImageError | None = None

    @property
    def image(self) -> ImageSource:
        """What is decoded."""
        return self.name if self.source is None else self.source


AnySource: TypeAlias = ImageSource | NamedSource
"""An input of the detector."""
