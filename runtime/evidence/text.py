"""Texts of a file's metadata, with their places."""

from __future__ import annotations

from dataclasses import dataclass


def decoded(data: bytes) -> str:
    """Text of no stated encoding: UTF-8, or Latin-1 where it is not."""
    try:
        return data.decode("utf-8").strip("\0 ")
    except UnicodeDecodeError:
        return data.decode("latin-1").strip("\0 ")


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
