"""What `cinemae make` says before the hours: what the data can promise, and what the work takes on this machine."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...runtime.core.environment import usable_cpus
from ...runtime.core.errors import OutputError, UsageError
from ...runtime.core.progress import duration
from ...runtime.diagnose.hardware import memory_gib
from ...train.calibration.calibrate import calibrate
from ...train.calibration.scores import OWN_HEAD, Scores
from ...train.cli.extract import ExtractOptions, spec_for
from ...train.cli.shared import Forward
from ...train.compute import choose_device, choose_precision
from ...train.data.sample import Sample
from ...train.evaluation.verdicts import promise_warnings
from ...train.features.cache import FeatureCache
from ...train.features.cache_spec import SPEC_FILE
from ...train.features.extract import extract
from ...train.fitting.fit_config import FitConfig
from ...train.fitting.out_of_fold import source_folds
from ...train.weights.load import load_backbone
from ..quality import spread
from ..refusals import engine_licence
from .options import MakeOptions

CLASSES = {0: "real", 1: "AI"}
FIRST, GROWTH, ENOUGH = 4, 8, 5.0
"""Images measured first, and in terms of them those measured next, until a measurement took so many seconds."""
LEAST_HELD = 3
"""Images of a class to be held out, below which chance may well hold out none."""
EXPORT_MEMORY = 6.0
"""Peak memory of export and check in terms of the weights in float32 (benchmarks/make.md)."""
GIB = 2**30


def check_data(samples: Sequence[Sample], config: FitConfig) -> list[str]:
    """What the data holds, a line for each side.

    Args:
        samples: all images.
        config: the fit.

    Raises:
        UsageError: a split or a class is missing, or a class has too few images to hold some out.
    """
    lines = []
    for side, use in ((True, "training, split train"), (False, "evaluation, the other splits")):
        cells = Counter((s.label, s.generator) for s in samples if (s.split == config.split) == side)
        counts = {label: [n for (one, _), n in cells.items() if one == label] for label in CLASSES}
        missing = " and no ".join(name for label, name in CLASSES.items() if not counts[label])
        if missing:
            raise UsageError(
                f"no {missing} images for {use}; a list needs a column split with train and test, folders need "
                "train and test or val, each with both classes"
            )
        of_classes = (f"{sum(n):,} {CLASSES[label]} of {len(n)} sources" for label, n in counts.items())
        lines.append(f"{use}: {', '.join(of_classes)}")
        least = int(LEAST_HELD / config.held_out + 0.5)
        if side and (few := [f"{sum(n)} {CLASSES[label]}" for label, n in counts.items() if sum(n) < least]):
            raise UsageError(f"{' and '.join(few)} images to train on are too few: {least} of a class are the least")
    return lines


def best_case_warnings(samples: Sequence[Sample], config: FitConfig) -> list[str]:
    """What not even a head that makes no mistake could promise, calibrated on as many images of as many sources."""
    train = [sample for sample in samples if sample.split == config.split]
    labels = np.array([sample.label for sample in train])
    sources = np.array([sample.generator for sample in train])
    own = np.arange(0, len(train), round(1 / config.held_out))  # samples are sorted: about the share of each source
    if source_folds(labels, sources) is None:
        labels, sources = labels[own], sources[own]
    else:  # as `out_of_fold.calibration_scores`: all images, and those held out once more
        labels = np.concatenate([labels, labels[own]])
        sources = np.concatenate([sources, np.full(len(own), OWN_HEAD)])
    perfect = Scores(2 * labels.astype(np.float32) - 1, labels, sources)
    return promise_warnings(calibrate(perfect, "the best case", config.rates))


@dataclass(frozen=True)
class Estimate:
    """What the extraction takes, measured on the first images.

    Attributes:
        images: how many are not cached yet.
        seconds: of the extraction.
        feature_bytes: that the cache will grow by.
        memory: bytes at the peak, in the export.
        engine_bytes: size of the engine.
        device: where the network runs.
    """

    images: int
    seconds: float
    feature_bytes: float
    memory: float
    engine_bytes: float
    device: str

    def lines(self, out: Path, cache: Path) -> list[str]:
        """The estimate in words.

        Raises:
            OutputError: a disk is too small.
        """
        for path, size, what, option in (
            (cache, self.feature_bytes, "the features", "--cache"), (out, self.engine_bytes, "the engine", "--out"),
        ):
            folder = next(one for one in (path, *path.absolute().parents) if one.is_dir())
            if (free := shutil.disk_usage(folder).free) < size:
                raise OutputError(f"{path}: {what} need {size / GIB:.1f} GiB, {free / GIB:.1f} are free; name another "
                                  f"place with {option}")
        said = [
            f"extraction: {self.images:,} images that are not cached, about {duration(self.seconds)} on {self.device} "
            f"with {usable_cpus()} cores; the other steps take minutes",
            f"disk: about {self.feature_bytes / GIB:.2f} GiB of features in {cache}, {self.engine_bytes / GIB:.2f} GiB "
            f"for {out}; memory: about {self.memory / GIB:.1f} GiB",
        ]
        memory = memory_gib()
        if memory and memory[0] * GIB < self.memory:
            said.append(f"warning: {memory[0]:.1f} GiB of memory are free; the export may fail, the steps before stay")
        return said


def measured(samples: Sequence[Sample], options: MakeOptions, extraction: ExtractOptions, forward: Forward) -> Estimate:
    """Extract the first images that are not cached, evenly over the data, and estimate from them; they stay cached.

    Raises:
        UsageError: another licence for the published weights.
        WeightsError: weights that are missing, or not those of a masked autoencoder.
    """
    device = choose_device(forward.device)
    loaded = load_backbone(options.backbone)
    engine_licence(loaded.info.licence, options.licence)
    spec = spec_for(extraction, loaded.info, choose_precision(forward.precision, device))
    folder = options.cache / spec.key
    there = {row.path for row in FeatureCache(folder).views} if (folder / SPEC_FILE).exists() else set()
    left = [sample for sample in samples if os.path.abspath(sample.path) not in there]
    count, seconds, each = FIRST, 0.0, 0.0
    while left and seconds < ENOUGH:
        some = spread(left, count)
        started = time.monotonic()
        extract(some, lambda: loaded.mae, spec, options.cache, batch_size=forward.batch_size, workers=forward.workers,
                device=device, quiet=True)
        seconds, count = time.monotonic() - started, count * GROWTH
        each = seconds / len(some)
        chosen = set(some)
        left = [sample for sample in left if sample not in chosen]
    shards = list(folder.glob("*.safetensors"))
    rows = len(FeatureCache(folder).views) or 1
    weights = 4 * sum(parameter.numel() for parameter in loaded.mae.parameters())
    return Estimate(
        images=len(left), seconds=len(left) * each, memory=EXPORT_MEMORY * weights + 0.5 * GIB, device=str(device),
        feature_bytes=len(left) * sum(shard.stat().st_size for shard in shards) / rows,
        engine_bytes=weights / (2 if options.fp16 else 1),
    )
