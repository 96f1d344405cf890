"""Fill the feature cache: decode in threads, run the frozen backbone on batches of images that are not cached yet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...runtime.core.errors import ImageError
from ...runtime.core.manifest import BackboneConfig, Decode, Preprocess
from ...runtime.core.progress import Progress
from ...runtime.core.read_ahead import read_ahead
from ...runtime.images.decode import decoded
from ...runtime.images.preprocess import resize_crop, shrink_to
from ..compute import choose_device, choose_precision
from ..data.sample import Sample
from ..data.samples import reading_order
from ..data.skipped import Skipped, skip
from ..data.transforms import check_augment, content_rng, transform_of
from ..model.mae import MaskedAutoencoder
from ..weights.timm_encoder import recorded_encoder
from .cache import TENSORS, FeatureCache
from .cache_spec import CacheSpec
from .cache_writer import CacheWriter
from .extractor import FeatureExtractor


def preprocess_for(config: BackboneConfig, decode: Decode = "scaled") -> Preprocess:
    """Resize and crop for a backbone: the paper's 256 and 224, in the same proportion at another input size."""
    return Preprocess(resize_short=round(config.image_size * 256 / 224), crop=config.image_size, decode=decode)


@dataclass(frozen=True, kw_only=True)
class ExtractReport:
    """Outcome of an extraction.

    Attributes:
        folder: the cache folder.
        computed: images whose features were computed now.
        reused: images found in the cache.
        copied: images whose features were copied from another file with the same bytes.
        samples: all images that have features now, with their content.
        skipped: path and reason of the files that are not readable images.
    """

    folder: Path
    computed: int
    reused: int
    copied: int
    samples: tuple[Sample, ...]
    skipped: tuple[tuple[str, str], ...]


def extract(
    samples: Sequence[Sample], backbone: Callable[[], MaskedAutoencoder], spec: CacheSpec, root: Path, *,
    shard: tuple[int, int] = (0, 1), batch_size: int = 32, workers: int = 2, shard_rows: int = 512,
    device: torch.device | None = None, quiet: bool = False,
) -> ExtractReport:
    """Cache the features of `samples` under ROOT/KEY; features that are cached already are not computed again.

    Every file is read and compared by its content, so that a replaced one is noticed whatever its size and time.

    Args:
        samples: any readers' output; the same list in every process when `shard` splits the work.
        backbone: gives the model; called only when there is something to compute.
        spec: decides the folder, the precision and, by the name `spec.augment`, what is done to the images.
        shard: (i, n): this process takes the i-th of n equal parts, in the order in which tables are read fastest.
        shard_rows: rows in one file; a kill loses at most the rows not yet written (or those of the last minute).

    Raises:
        UsageError: an unknown augmentation, or a precision that the device does not have.
        WeightsError: the global encoder is not the one that `spec` names.
    """
    device = device or choose_device("auto")
    choose_precision(spec.precision, device)
    check_augment(spec.augment)
    least = shrink_to(spec.preprocess) if spec.augment == "none" else None  # changes work at the native size
    writer = CacheWriter(root, spec, shard_rows)
    cached = FeatureCache(writer.folder, None)
    stored = {(row.content, row.view): index for index, row in enumerate(cached.rows)}
    mine = reading_order(samples)[shard[0] * len(samples) // shard[1] : (shard[0] + 1) * len(samples) // shard[1]]
    extractor: FeatureExtractor | None = None
    skipped: Skipped = []
    listed: list[Sample] = []
    reused = copied = 0
    pending: list[tuple[Sample, np.ndarray]] = []
    moved: list[Sample] = []

    def read(sample: Sample) -> tuple[Sample, list[np.ndarray]]:
        """The sample with its content, and its views, uint8 [S, S, 3]; none if features of the bytes are cached."""
        path, data = sample.absolute, sample.read()
        content = hashlib.sha256(data).hexdigest()
        found = sample._replace(path=path, content=content)
        if all((content, view) in stored for view in range(spec.views)):
            return found, []
        with decoded(data, name=path, shrink_to=least) as one:
            seeded = ((view, content_rng(content, spec.augment_seed, view)) for view in range(spec.views))
            changed = (transform_of(spec.augment, view)(one.image, rng) for view, rng in seeded)
            return found, [resize_crop(image, spec.preprocess) for image in changed]

    def compute() -> None:
        nonlocal extractor
        extractor = extractor or FeatureExtractor(
            backbone(), spec.mask_sets(), device=device, precision=spec.precision, kind=spec.f_global,
            encoder=recorded_encoder(spec.backbone),
        )
        features = extractor(np.stack([pixels for _, pixels in pending]))
        for index, (row, _) in enumerate(pending):
            writer.add(row, *(getattr(features, name)[index] for name in TENSORS))
        pending.clear()

    def copy() -> None:  # many at once: each shard is read once
        views = [sample._replace(view=view) for sample in moved for view in range(spec.views)]
        for positions, found in cached.batches(np.array([stored[row.content, row.view] for row in views])):
            for index, position in enumerate(positions):
                writer.add(views[position], *(getattr(found, name)[index] for name in TENSORS))
        moved.clear()

    with (
        ThreadPoolExecutor(max(1, workers), thread_name_prefix="decode") as pool,
        Progress("images", len(mine), quiet=quiet) as progress,
    ):
        progress.show()
        for sample, future in read_ahead(pool, read, mine, 2 * batch_size):
            try:
                found, views = future.result()
            except ImageError as error:
                skip(skipped, sample.path, str(error))
            else:
                listed.append(found)
                if cached.views[found] >= spec.views:
                    reused += 1
                elif views:
                    pending += [(found._replace(view=view), pixels) for view, pixels in enumerate(views)]
                else:
                    moved.append(found)
                    copied += 1
                if len(pending) >= batch_size:
                    compute()
                if len(moved) >= shard_rows:
                    copy()
            progress.advance()
    if pending:
        compute()
    if moved:
        copy()
    writer.flush()
    return ExtractReport(
        folder=writer.folder, computed=len(listed) - reused - copied, reused=reused, copied=copied,
        samples=tuple(listed), skipped=tuple(skipped),
    )
