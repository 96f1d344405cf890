"""Members of uncompressed tar archives by name, and the samples of webdataset tars: members with one key."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from ...runtime.core.errors import ImageError, UsageError
from ...runtime.images.formats import has_image_suffix
from ...runtime.images.system_files import is_system_file, is_system_path

OPEN = 8
FIELD_BYTES = 1 << 20
"""Larger members beside an image are no label."""


class TarIndex:
    """Where each member lies. Headers are read once, and an image by one read; nothing else is held.

    Args:
        path: of the archive.

    Attributes:
        members: name -> offset and size in bytes.

    Raises:
        UsageError: compressed, damaged, or no tar.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.members: dict[str, tuple[int, int]] = {}
        try:
            with tarfile.open(path, "r:") as archive:
                kept: Any = archive  # tarfile keeps every header in `members`
                for member in archive:
                    if member.isfile():
                        self.members[member.name] = (member.offset_data, member.size)
                    kept.members = []
        except (tarfile.TarError, OSError, EOFError) as error:
            fix = "it must be an uncompressed tar: images are read where they lie"
            raise UsageError(f"{path}: cannot be read as a tar archive ({error}); {fix}") from None

    def read(self, name: str) -> bytes:
        """Bytes of a member.

        Raises:
            ImageError: there is none of this name.
        """
        if name not in self.members:
            raise ImageError("no such member of the archive", "missing")
        offset, size = self.members[name]
        with open(self._path, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def samples(self) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
        """The samples, in order: members whose names are the same up to the first dot of the file's name.

        Returns:
            for each sample its images, extension -> member, and its fields: those of its `.json`, and the text of its
            other members by extension, such as `cls`.
        """
        images: dict[str, str] = {}
        fields: dict[str, str] = {}
        current = None
        for name in self.members:
            if is_system_path(name) or is_system_file(name, lambda: self.read(name)):  # noqa: B023  # called at once
                continue
            folder, file = os.path.split(name)
            key, _, extension = file.partition(".")
            if (folder, key) != current and current is not None:
                yield images, self._fields(fields)
                images, fields = {}, {}
            current = folder, key
            (images if has_image_suffix(name) else fields)[extension.lower()] = name
        if current is not None:
            yield images, self._fields(fields)

    def _fields(self, members: dict[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for extension, name in members.items():
            if self.members[name][1] > FIELD_BYTES:
                continue
            text = self.read(name).decode("utf-8", "replace").strip()
            if extension != "json":
                found.setdefault(extension, text)
                continue
            try:
                record = json.loads(text)
            except ValueError as error:
                raise UsageError(f"{self._path}::{name}: is no JSON ({error}); write the archive again") from None
            found |= record if isinstance(record, dict) else {}
        return found


@lru_cache(maxsize=OPEN)
def tar_index(path: str) -> TarIndex:
    """The index of an archive, which is kept."""
    return TarIndex(path)
