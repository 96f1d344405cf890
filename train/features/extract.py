"""Fill the feature cache: decode in threads, one frozen forward per batch of new images, nothing twice."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...runtime.errors import ImageError, UsageError
from ...runtime.manifest import BackboneConfig, Preprocess
from ...runtime.masks import masked_from_visible
from ...runtime.preprocess import decode, prepare
from ...runtime.progress import Progress
from ...runtime.read_ahead import read_ahead
from ..data.samples import Sample
from ..model.lcas import channel_constants, run_sums
from ..model.mae import MaskedAutoencoder, patchify
from .augment import TRANSFORMS, Transform
from .cache import TENSORS, CacheWriter, FeatureCache, Features, Row
from .cache_spec import CacheSpec

log = logging.getLogger("cinemae.train")


def preprocess_for(config: BackboneConfig) -> Preprocess:
    """The paper's 256 -> 224, in the same proportion at another input size."""
    return Preprocess(resize_short=round(config.image_size * 256 / 224), crop=config.image_size)


class FeatureExtractor:
    """The frozen forward: uint8 images to what the cache keeps. On CUDA the encoder runs in float32 too."""

    def __init__(self, mae: MaskedAutoencoder, mask_sets: np.ndarray, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.mae = mae.to(self.device).eval()
        self.shape = mask_sets.shape[:2]
        runs = mask_sets.reshape(-1, mask_sets.shape[2])
        self.visible = torch.from_numpy(runs).to(self.device)
        self.masked = torch.from_numpy(masked_from_visible(runs, mae.config.n_patches)).to(self.device)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> Features:
        """uint8 [B, S, S, 3] -> `Features` of B rows. The patch embedding is computed once for all passes."""
        mae = self.mae
        pixels = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, std = channel_constants(pixels)
        embedded = mae.embed((pixels - mean[:, None, None]) / std[:, None, None])
        f_global = mae.encode_embedded(embedded)[:, 0]
        patches = patchify(pixels, mae.config.patch_size)
        runs = [
            run_sums(patches, mae.decode(mae.encode_embedded(embedded, seen), seen), seen, hidden)
            for seen, hidden in zip(self.visible, self.masked, strict=True)
        ]

        def array(tensor: Tensor) -> np.ndarray:
            return tensor.float().cpu().numpy()

        sums = torch.stack([run.sums for run in runs], dim=1).unflatten(1, self.shape)
        context = torch.stack([run.context for run in runs], dim=1).unflatten(1, self.shape)
        return Features(array(f_global), array(sums), array(context), mae.config.patch_values // 3)


@dataclass(frozen=True)
class ExtractReport:
    """folder: the cache folder. Counts of images: newly computed, found cached, copied from a file with the same bytes.

    skipped: (path, reason) of the files that are not readable images.
    """

    folder: Path
    computed: int
    reused: int
    copied: int
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Read:
    """One file, read: its row (view 0) and uint8 [S, S, 3] pixels of every view; none where its bytes are cached."""

    row: Row
    views: tuple[np.ndarray, ...]


def shard_from_environment() -> tuple[int, int]:
    """(rank, world size) under torchrun, else (0, 1)."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def parse_shard(text: str) -> tuple[int, int]:
    """'i/n' with 0 <= i < n.

    Raises:
        UsageError: anything else.
    """
    head, _, tail = text.partition("/")
    if not (head.isdigit() and tail.isdigit() and int(head) < int(tail)):
        raise UsageError(f"--shard must be i/n with 0 <= i < n (0/4 ... 3/4 for four processes), got {text!r}")
    return int(head), int(tail)


def extract(
    samples: Sequence[Sample], backbone: Callable[[], MaskedAutoencoder], spec: CacheSpec, root: Path, *,
    shard: tuple[int, int] = (0, 1), batch_size: int = 32, workers: int = 2, shard_rows: int = 512,
    device: torch.device | None = None, transform: Transform | None = None, quiet: bool = False,
) -> ExtractReport:  # fmt: skip
    """Cache the features of `samples` under ROOT/KEY; what is there already is not computed again.

    Args:
        samples: any readers' output; the same list in every process when `shard` splits the work.
        backbone: gives the model; called only when there is something to compute.
        spec: decides the folder; `spec.augment` names `transform`, or one of `augment.TRANSFORMS` when that is None.
        shard: (i, n): this process takes samples i, i + n, i + 2n ...
        shard_rows: rows in one file; a kill loses at most the rows not yet written (or those of the last minute).

    Raises:
        UsageError: an augmentation that nobody knows.
    """
    if transform is None:
        if spec.augment not in TRANSFORMS:
            raise UsageError(f"unknown augmentation {spec.augment!r}; there are: {', '.join(TRANSFORMS)}")
        transform = TRANSFORMS[spec.augment]
    writer = CacheWriter(root, spec, shard_rows)
    cached = FeatureCache(writer.folder)
    stored = {(row.content, row.view): index for index, row in enumerate(cached.rows)}
    mine = samples[shard[0] :: shard[1]]
    todo = [
        sample
        for sample in mine
        if not _is_current(sample, cached.known.get(os.path.abspath(sample.path), []), spec.views)
    ]
    extractor: FeatureExtractor | None = None
    skipped: list[tuple[str, str]] = []
    copied = 0
    pending: list[tuple[Row, np.ndarray]] = []

    def read(sample: Sample) -> _Read:
        path = os.path.abspath(sample.path)
        try:
            data = Path(path).read_bytes()
            stat = os.stat(path)
        except OSError as error:
            raise ImageError(f"{path}: {error.strerror}") from None
        content = hashlib.sha256(data).hexdigest()
        row = Row(path, sample.label, sample.generator, sample.split, content, 0, 0, 0, stat.st_size, stat.st_mtime_ns)
        if all((content, view) in stored for view in range(spec.views)):
            return _Read(row, ())
        try:
            image = decode(data)
        except ImageError as error:
            raise ImageError(f"{path}: {str(error).partition(': ')[2]}") from None
        views = [
            prepare(transform(image, _generator(spec, content, view)), spec.preprocess) for view in range(spec.views)
        ]
        return _Read(replace(row, width=image.width, height=image.height), tuple(view.pixels for view in views))

    def compute() -> None:
        nonlocal extractor
        extractor = extractor or FeatureExtractor(backbone(), spec.mask_sets(), device)
        features = extractor(np.stack([pixels for _, pixels in pending]))
        for index, (row, _) in enumerate(pending):
            writer.add(row, *(getattr(features, name)[index] for name in TENSORS))
        pending.clear()

    def copy(row: Row) -> None:
        for view in range(spec.views):
            index = stored[row.content, view]
            ((_, one),) = cached.batches(np.array([index]))
            known = cached.rows[index]
            own = replace(row, view=view, width=known.width, height=known.height)
            writer.add(own, *(getattr(one, name)[0] for name in TENSORS))

    with (
        ThreadPoolExecutor(max(1, workers), thread_name_prefix="decode") as pool,
        Progress("images", len(mine), done=len(mine) - len(todo), quiet=quiet) as progress,
    ):
        for sample, future in read_ahead(pool, read, todo, 2 * batch_size):
            try:
                result = future.result()
            except ImageError as error:
                log.warning("skipped: %s", error)
                skipped.append((str(sample.path), str(error)))
            else:
                if result.views:
                    pending += [(replace(result.row, view=view), pixels) for view, pixels in enumerate(result.views)]
                else:
                    copy(result.row)
                    copied += 1
                if len(pending) >= batch_size:
                    compute()
            progress.advance()
    if pending:
        compute()
    writer.flush()
    done = len(todo) - copied - len(skipped)
    return ExtractReport(writer.folder, done, len(mine) - len(todo), copied, tuple(skipped))


def _is_current(sample: Sample, of_path: list[Row], views: int) -> bool:
    """Whether the cached rows of its path still describe this sample and all its views, without reading the file."""
    rows = [row for row in of_path if (row.generator, row.split) == (sample.generator, sample.split)]
    if len(rows) < views:
        return False
    try:
        stat = os.stat(sample.path)
    except OSError:
        return False
    now = (sample.label, stat.st_size, stat.st_mtime_ns)
    return all((row.label, row.size, row.mtime_ns) == now for row in rows)


def _generator(spec: CacheSpec, content: str, view: int) -> np.random.Generator:
    """Random, but the same for the same bytes and view, whichever process or run extracts them."""
    return np.random.default_rng([spec.augment_seed, view, int(content[:16], 16)])
