"""What the commands of `cinemae-train` do once their options are parsed."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from ..runtime.errors import MissingDependencyError, UsageError
from ..runtime.manifest import HeadConfig, MethodConfig
from .cache import FeatureCache, open_cache
from .cache_spec import CacheSpec
from .calibrate import calibrate
from .checkpoint import (
    last_checkpoint,
    load_checkpoint_backbone,
    load_head,
    read_manifest,
    read_metrics,
    update_checkpoint,
)
from .data.samples import Sample, read_samples
from .evaluate import Evaluation, evaluate, held_out_rows, score, spec_of
from .evaluate_report import plain, to_json, write_report
from .extract import ExtractReport, extract, parse_shard, preprocess_for, shard_from_environment
from .fit import FitConfig, fit, held_out_text
from .memory import keep_freed_memory
from .weights import load_backbone

LAST = Path("last")
NAMED_SKIPS = 20


@dataclass(frozen=True)
class SpecOptions:
    """Masks and augmentation of an extraction."""

    k: int
    mask_sets: int
    mask_strategy: str
    mask_seed: int
    augment: str
    views: int
    augment_seed: int


@dataclass(frozen=True)
class MethodOptions:
    """What may change in the method without another extraction."""

    k: int | None
    lambda_: float
    pixel_space: str
    stat_reduction: str
    fidelity_reduction: str


def prepare_process(threads: int = 0) -> None:
    """Logging to stderr, allocator, and the number of threads (0: torch's own choice)."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """auto, cpu, cuda, or cuda:N; under torchrun, cuda is the process's own card.

    Raises:
        UsageError: unknown. MissingDependencyError: cuda asked for and not there.
    """
    if name not in ("auto", "cpu", "cuda") and not name.startswith("cuda:"):
        raise UsageError(f"unknown device {name!r}: use auto, cpu or cuda")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise MissingDependencyError("PyTorch finds no CUDA device; use --device cpu, or install a CUDA build of torch")
    return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" else name)


def checked(model: Any, **fields: Any) -> Any:
    """A configuration from options.

    Raises:
        UsageError: names each option that is wrong.
    """
    try:
        return model(**fields)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UsageError(problems) from None


def read_all(data: Sequence[Path], layout: str, split: str | None, generators: Sequence[str] | None) -> list[Sample]:
    """The samples of all DATA arguments, in their order."""
    return [sample for root in data for sample in read_samples(root, layout=layout, split=split, generators=generators)]


def run_extract(
    data: Sequence[Path], backbone: str, root: Path, layout: str, split: str | None, generators: Sequence[str] | None,
    options: SpecOptions, batch_size: int, workers: int, shard: str | None, device: str, quiet: bool,
) -> ExtractReport:  # fmt: skip
    """`cinemae-train extract`."""
    method: MethodConfig = checked(
        MethodConfig, k=options.k, mask_sets=options.mask_sets, mask_strategy=options.mask_strategy, mask_seed=options.mask_seed
    )
    samples = read_all(data, layout, split, generators)
    loaded = load_backbone(backbone)
    spec = CacheSpec.create(
        loaded.info, preprocess_for(loaded.info.config), method,
        augment=options.augment, views=options.views, augment_seed=options.augment_seed,
    )  # fmt: skip
    part = parse_shard(shard) if shard else shard_from_environment()
    return extract(samples, lambda: loaded.mae, spec, root, shard=part, batch_size=batch_size, workers=workers,
                   device=choose_device(device), quiet=quiet)  # fmt: skip


def describe_extract(report: ExtractReport) -> str:
    """Counts, and the names of skipped files."""
    lines = [
        f"{report.folder}: {report.computed:,} images computed, {report.reused:,} cached before, "
        f"{report.copied:,} copies of cached ones, {len(report.skipped):,} skipped"
    ]
    lines += [f"  skipped {reason}" for _, reason in report.skipped[:NAMED_SKIPS]]
    if len(report.skipped) > NAMED_SKIPS:
        lines.append(f"  ... and {len(report.skipped) - NAMED_SKIPS:,} more")
    return "\n".join(lines)


def head_config(statistics: str, fusion: str, standardize: bool) -> HeadConfig:
    """Options of the head; "none" means f_global alone."""
    chosen = () if statistics in ("", "none") else tuple(part.strip() for part in statistics.split(","))
    config: HeadConfig = checked(HeadConfig, statistics=chosen, fusion=fusion, standardize=standardize)
    return config


def fit_config(
    epochs: int, lr: float, batch_size: int, seed: int, held_out: float, split: str,
    generators: tuple[str, ...] | None, target_fpr: float, uncertain_share: float,
) -> FitConfig:  # fmt: skip
    """Options of `fit` as its configuration."""
    return FitConfig(epochs, lr, batch_size, seed, held_out, split, generators, target_fpr, uncertain_share)


def run_fit(
    root: Path, key: str | None, augment: str | None, out: Path, options: MethodOptions, head: HeadConfig, config: FitConfig,
    name: str, demonstration: bool, embed: bool, backbone: str | None, quiet: bool,
) -> Path:  # fmt: skip
    """`cinemae-train fit`."""
    cache = open_cache(root, augment, key)
    fields = {"lambda_": options.lambda_, "pixel_space": options.pixel_space,
              "stat_reduction": options.stat_reduction, "fidelity_reduction": options.fidelity_reduction}  # fmt: skip
    method: MethodConfig = checked(MethodConfig, **{**cache.spec.method(options.k).model_dump(), **fields})
    embedded = None
    if embed:
        found = load_backbone(backbone or cache.spec.backbone.source)
        if found.info.sha256 != cache.spec.backbone.sha256:
            raise UsageError(f"{found.info.source} is not the backbone of this cache; name the right file with --backbone")
        embedded = found.mae
    return fit(cache, out, method, head, config, name=name, demonstration=demonstration, embed=embedded, quiet=quiet)


def describe_fit(folder: Path) -> str:
    """What was fitted, and the next commands."""
    manifest = read_manifest(folder)
    t, held = manifest.training, manifest.metrics["held_out"]
    return (
        f"{folder}: {t.n_ai:,} AI and {t.n_real:,} real images of {', '.join(t.generators)}; {t.note}: epoch {t.epochs}, "
        f"held-out AUC {held['auc']:.4f} on {held['images']:,.0f} images\n"
        f"next: cinemae-train eval {folder} DATA    or    cinemae-export {folder}"
    )


def run_calibrate(checkpoint: Path | None, root: Path, target_fpr: float, uncertain_share: float) -> str:
    """`cinemae-train calibrate`; returns what it found."""
    loaded = load_head(checkpoint or last_checkpoint())
    recipe = read_metrics(loaded.folder).get("fit", {})
    if not recipe:
        raise UsageError(f"{loaded.folder} does not say which images were held out (metrics.json); fit again")
    config = recipe["config"]
    cache = open_cache(root, key=recipe["cache"])
    rows = held_out_rows(loaded, cache, config["held_out"], config["seed"], config["split"])
    scored = score(loaded, cache, rows)
    where = held_out_text(loaded.manifest.training.generators, len(rows))
    found = calibrate(scored.labels, scored.logits, where, target_fpr, uncertain_share)
    update_checkpoint(loaded.folder, loaded.manifest.model_copy(update={"calibration": found}), {})
    return (
        f"{loaded.folder}: probability = sigmoid({found.a:.4f} * logit + {found.b:+.4f}); threshold {found.threshold:.4f} "
        f"(target FPR {target_fpr:g}), uncertain from {found.uncertain_low:.4f} to {found.uncertain_high:.4f}; {where}"
    )


def run_eval(
    checkpoint: Path, data: Sequence[Path], root: Path, layout: str, split: str | None, generators: Sequence[str] | None,
    out: Path | None, resamples: int, seed: int, backbone: str | None, batch_size: int, workers: int, device: str, quiet: bool,
) -> str:  # fmt: skip
    """`cinemae-train eval`; returns the table for the terminal."""
    loaded = load_head(last_checkpoint() if checkpoint == LAST and not checkpoint.exists() else checkpoint)
    samples = [s for s in read_all(data, layout, split, generators) if split or s.split != "train"]
    if not samples:
        raise UsageError("there is no split but train in this data; name it to score it all the same: --split train")
    paths = {os.path.abspath(sample.path) for sample in samples}
    spec = spec_of(loaded, root, paths)
    report = extract(samples, lambda: load_checkpoint_backbone(loaded, backbone), spec, root,
                     batch_size=batch_size, workers=workers, device=choose_device(device), quiet=quiet)  # fmt: skip
    cache = FeatureCache(report.folder, paths)
    scored = score(loaded, cache, cache.select())
    found = evaluate(loaded, scored, resamples, seed)
    folder = out or loaded.folder / "eval"
    written = write_report(found, scored, folder)
    figures = {**loaded.manifest.metrics, **manifest_figures(found)}
    update_checkpoint(loaded.folder, loaded.manifest.model_copy(update={"metrics": figures}), {"eval": to_json(found)})
    lines = [plain(found), f"* trained on this generator; written: {', '.join(str(path) for path in written)}"]
    if report.skipped:
        lines.append(f"{len(report.skipped):,} unreadable files skipped (named above)")
    return "\n".join(lines)


def manifest_figures(found: Evaluation) -> dict[str, dict[str, float]]:
    """The few figures an engine carries, by generator/split; those that exist."""
    names = ("accuracy", "real_accuracy", "fake_accuracy", "auc", "ap")
    figures = {}
    for group in found.groups:
        values = {name: float(getattr(group.metrics, name)) for name in names}
        figures[f"{group.generator}/{group.split}"] = {n: v for n, v in values.items() if v == v}
    return figures
