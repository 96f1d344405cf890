"""One labelled image, from a reader's list through the feature cache to a fit's record."""

from __future__ import annotations

from typing import NamedTuple

from .classes import AI, REAL

__all__ = ["AI", "REAL", "Sample"]


class Sample(NamedTuple):
    """A labelled image.

    Attributes:
        path: the file, or where in a file the image lies (`stored`); absolute in the cache and in recorded lists.
        label: 1 AI-generated, 0 real.
        generator: the generator whose part of the data set holds the image; real images have one too.
        split: "train", "val" or "test".
        content: hex SHA-256 of the file; "" before it is read.
        view: number of the augmented view that a row of the cache holds, from 0.
    """

    path: str
    label: int
    generator: str
    split: str
    content: str = ""
    view: int = 0

    @property
    def cell(self) -> tuple[str, str, int]:
        """Generator, split and class: images are counted and limited by them."""
        return self.generator, self.split, self.label

    @property
    def listed(self) -> Sample:
        """The sample as recorded lists have it: without a view."""
        return self._replace(view=0) if self.view else self

    @property
    def identity(self) -> tuple[int | str, ...]:
        """Two rows with the same identity are duplicates: the same bytes, class, generator, split and view."""
        return self[1:]

    @property
    def absolute(self) -> str:
        """The path from the root of the file system; a name on the hub as it is."""
        from .stored import absolute

        return absolute(self.path)

    def read(self) -> bytes:
        """The image file's own bytes, wherever they lie; nothing is encoded anew.

        Raises:
            ImageError: the file or row is missing or unreadable, or holds no bytes.
            CinemaeError: the hub cannot be reached, or a package is missing.
        """
        from .stored import read_stored  # here: `--help` imports this module, and no numpy

        return read_stored(self.path)
