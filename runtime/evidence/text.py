"""One text of a file's metadata, with its place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
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
