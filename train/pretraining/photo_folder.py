"""Photographs without labels, as the random crops that pretraining reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from ...runtime.core.errors import ImageError, UsageError
from ...runtime.images.decode import decode
from ...runtime.images.formats import has_image_suffix
from ...runtime.images.system_files import is_system_file
from ...runtime.images.walk import walk
from ..data.skipped import Skipped, skip


class PhotoFolder(Dataset[Tensor]):
    """Random resized crops and flips of the images under some folders.

    An item is uint8 [3, S, S], or None where the file is unreadable; the log names the first.

    Args:
        folders: searched recursively.
        image_size: side S of a crop.
        crop_scale: smallest share of the area that a crop covers.

    Raises:
        UsageError: there is no image.
    """

    def __init__(self, folders: Sequence[Path], image_size: int, crop_scale: float) -> None:
        found = [item for folder in folders for item in walk(str(folder), wanted=_is_photo)]
        self.skipped: Skipped = []
        for item in found:
            if item.error is not None:
                skip(self.skipped, item.name, str(item.error))
        self.paths = sorted(item.name for item in found if item.error is None)
        if not self.paths:
            raise UsageError(f"no images under {', '.join(map(str, folders))}; give a folder that holds photographs")
        self.transform = v2.Compose([
            v2.PILToTensor(),
            v2.RandomResizedCrop(image_size, (crop_scale, 1.0), interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
        ])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor | None:  # type: ignore[override]
        try:
            return self.transform(decode(self.paths[index]))
        except ImageError as error:
            skip(self.skipped, self.paths[index], str(error))
            return None


def _is_photo(path: str) -> bool:
    return has_image_suffix(path) and not is_system_file(path)


def collate(items: list[Tensor | None]) -> Tensor:
    """Stack the readable images: uint8 [B', 3, S, S], B' <= B; an empty tensor where there is none."""
    readable = [item for item in items if item is not None]
    return torch.stack(readable) if readable else torch.empty(0, dtype=torch.uint8)


def endless(loader: DataLoader[Tensor]) -> Iterator[Tensor]:
    """Repeat a loader without end, leaving out batches without a readable image.

    Yields:
        uint8 [B', 3, S, S], 1 <= B' <= B.

    Raises:
        UsageError: a whole epoch has no readable image.
    """
    while True:
        found = False
        for batch in loader:
            if len(batch):
                found = True
                yield batch
        if not found:
            raise UsageError("none of the images can be read; the log names them. Give a folder that holds photographs")
