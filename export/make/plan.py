"""What `cinemae make` says before the hours: what the data can promise, and what the work takes on this machine."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...runtime.core.environment import usable_cpus
from ...runtime.core.errors import OutputError, UsageError
from ...runtime.core.progress import duration
from ...runtime.diagnose.hardware import memory_gib
from ...train.audit.audit import LABELS
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
from ...train.weights.timm_encoder import recorded_encoder
from ..quality import spread
from ..refusals import engine_licence
from .options import MakeOptions

FIRST, GROWTH, ENOUGH = 4, 8, 5.0
"""Images measured first, how many times as many are measured next, and the seconds of a measurement that is enough."""
LEAST_HELD = 3
"""Images of a class to be held out, below which chance may well hold out none."""
EXPORT_MEMORY = 6.0
"""Peak memory of export and check in terms of the weights in float32 (benchmarks/make.md)."""
GIB = 2**30


def check_data(samples: Sequence[Sample], config: FitConfig) -> list[str]:
    """What the data holds, a line for each side.

    Raises:
        UsageError: a split or a class is missing, or a class has too few images to hold some out.
    """
    lines, least = [], int(LEAST_HELD / config.held_out + 0.5)
    for side, use in ((True, "training, split train"), (False, "evaluation, the other splits")):
        cells = Counter((s.label, s.generator) for s in samples if (s.split == config.split) == side)
        counts = {label: [n for (one, _), n in cells.items() if one == label] for label in LABELS}
        if missing := " and no ".join(name for label, name in LABELS.items() if not counts[label]):
            there = ", ".join(f"{n:,} of split {split}" for split, n in Counter(s.split for s in samples).items())
            raise UsageError(
                f"no {missing} images for {use}; there are {there}: a list needs a column split with train and test, "
                "folders need train and test or val, each with both classes (mydata/{train,test}/{real,fake}); "
                "--test-share 0.1 makes a test split of images without one"
            )
        lines.append(f"{use}: " + ", ".join(f"{sum(n):,} {LABELS[i]} of {len(n)} sources" for i, n in counts.items()))
        if side and (few := [f"{sum(n)} {LABELS[label]}" for label, n in counts.items() if sum(n) < least]):
            raise UsageError(f"{' and '.join(few)} images to train on are too few: {least} of a class are the least")
    return lines


def best_case_warnings(samples: Sequence[Sample], config: FitConfig) -> list[str]:
    """What not even a head that makes no mistake could promise, calibrated on as many images of as many sources."""
    train = sorted((sample.label, sample.generator) for sample in samples if sample.split == config.split)
    labels, sources = np.array([label for label, _ in train]), np.array([source for _, source in train])
    own = np.arange(0, len(train), round(1 / config.held_out))  # about the share of each source
    if source_folds(labels, sources) is None:
        labels, sources = labels[own], sources[own]
    else:  # as `out_of_fold.calibration_scores`: all images, and those held out once more
        labels = np.concatenate([labels, labels[own]])
        sources = np.concatenate([sources, np.full(len(own), OWN_HEAD)])
    perfect = Scores(2 * labels.astype(np.float32) - 1, labels, sources)
    return promise_warnings(calibrate(perfect, "the best case", config.rates), perfect)


def estimate(
    samples: Sequence[Sample], options: MakeOptions, extraction: ExtractOptions, forward: Forward
) -> list[str]:
    """Extract the first images that are not cached, evenly over the data, and say what all will take; they stay cached.

    Raises:
        UsageError: another licence for the published weights.
        WeightsError: weights that are missing, or not those of a masked autoencoder.
        OutputError: a disk is too small.
    """
    device, loaded = choose_device(forward.device), load_backbone(options.backbone)
    spec = spec_for(extraction, loaded.info, choose_precision(forward.precision, device))
    engine_licence(spec.backbone.joint_licence, options.licence)
    folder = options.cache / spec.key
    there = {row.path for row in FeatureCache(folder, None).views} if (folder / SPEC_FILE).exists() else set()
    left = [sample for sample in samples if sample.absolute not in there]
    count, seconds, each = FIRST, 0.0, 0.0
    while left and seconds < ENOUGH:
        some = spread(left, count)
        started = time.monotonic()
        extract(some, lambda: loaded.mae, spec, options.cache, batch_size=forward.batch_size, workers=forward.workers,
                device=device, quiet=True)
        seconds, count = time.monotonic() - started, count * GROWTH
        each, chosen = seconds / len(some), set(some)
        left = [sample for sample in left if sample not in chosen]
    taken = len(samples) - len(left)
    cached = FeatureCache(folder, None)
    row_bytes = sum(path.stat().st_size for path in cached.shards) / max(1, len(cached))
    models = filter(None, (loaded.mae, recorded_encoder(spec.backbone)))
    weights = 4 * sum(parameter.numel() for model in models for parameter in model.parameters())
    features, engine = len(left) * row_bytes / GIB, weights / (2 if options.fp16 else 1) / GIB
    for path, size, option in ((options.cache, features, "--cache"), (options.out, engine, "--out")):
        free = shutil.disk_usage(next(one for one in (path, *path.absolute().parents) if one.is_dir())).free / GIB
        if free < size:
            raise OutputError(f"{path} needs {size:.1f} GiB, {free:.1f} are free; name another place with {option}")
    needed, memory = EXPORT_MEMORY * weights / GIB + 0.5, memory_gib()
    lines = [
        f"extraction: {taken:,} images are done, {len(left):,} are not in the cache under their names, at most "
        f"{duration(len(left) * each)} on {device} with {usable_cpus()} cores; the other steps take minutes",
        f"disk: about {features:.2f} GiB of features in {options.cache}, {engine:.2f} GiB for {options.out}; memory: "
        f"about {needed:.1f} GiB",
    ]
    if memory and memory[0] < needed:
        lines.append(f"warning: {memory[0]:.1f} GiB of memory are free; the export may fail, the steps before stay")
    return lines
