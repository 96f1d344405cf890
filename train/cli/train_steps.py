"""The work of the commands, after `train` has parsed their options; this imports torch."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ...runtime.core.calibration import Calibration
from ...runtime.core.errors import UsageError
from ...runtime.core.manifest import HeadConfig
from ...runtime.core.text import terminal_width
from ..calibration.platt import calibrate_probability
from ..calibration.rates import Rates
from ..calibration.scores import Scores
from ..data.samples import Sample
from ..evaluation.eval_files import NOTE, eval_json, eval_table, write_eval
from ..evaluation.evaluate import Evaluation, evaluate, score, spec_of
from ..evaluation.verdicts import promise_kept, promise_text, promise_warnings, rates_table, verdict_table
from ..features.cache import FeatureCache, open_cache
from ..features.cache_spec import CacheSpec
from ..features.extract import ExtractReport, preprocess_for
from ..features.sample_list import SAMPLES_FILE, read_samples, record_part
from ..fitting.checkpoint import load_checkpoint_backbone, load_head
from ..fitting.checkpoint_folder import SCORES_FILE, read_manifest, update_checkpoint
from ..fitting.fit import fit
from ..fitting.fit_config import FitConfig
from ..precision import named_precision
from ..reporting.tables import wrapped
from ..weights.load import load_backbone
from .option_checks import checked
from .option_groups import (
    MachineOptions,
    MethodOptions,
    SpecOptions,
)
from .shared_options import CACHE

NAMED_SKIPS = 20


def run_extract(
    samples: Sequence[Sample], backbone: str, root: Path, options: SpecOptions, machine: MachineOptions,
    part: tuple[int, int] = (0, 1), ray: str | None = None, threads: int = 0,
) -> ExtractReport:
    """`cinemae-train extract`; `ray` is the address of a cluster."""
    precision = machine.chosen_precision() if ray is None else named_precision(machine.precision, auto="fp32")
    machine.stage(f"{len(samples):,} images; loading {backbone}")
    loaded = load_backbone(backbone)
    spec = CacheSpec.create(
        loaded.info, checked(preprocess_for, config=loaded.info.config, decode=options.decode), options.method(),
        augment=options.augment, views=options.views, augment_seed=options.augment_seed, precision=precision,
    )
    (root / spec.key / SAMPLES_FILE).unlink(missing_ok=True)  # until this extraction has finished
    if ray is not None:
        from ..features.ray_extract import extract_on_ray

        report = extract_on_ray(ray, samples, backbone, spec, root, batch_size=machine.batch_size,
                                workers=machine.workers, device=machine.device, threads=threads or 1)
    else:
        report = machine.extract(samples, lambda: loaded.mae, spec, root, part)
    record_part(report.folder, samples, part, report.samples)
    return report


def describe_extract(report: ExtractReport, roots: Sequence[Path], root: Path) -> str:
    """Counts, the names of skipped files, and the next command."""
    lines = [
        f"{report.folder}: {report.computed:,} images computed, {report.reused:,} cached before, "
        f"{report.copied:,} copies of cached ones, {len(report.skipped):,} skipped"
    ]
    lines += [f"  skipped {reason}" for _, reason in report.skipped[:NAMED_SKIPS]]
    if len(report.skipped) > NAMED_SKIPS:
        lines.append(f"  ... and {len(report.skipped) - NAMED_SKIPS:,} more")
    where = "" if root == CACHE else f" --cache {shlex.quote(str(root))}"
    fitting = any(sample.split == "train" for sample in report.samples)
    step = "fit" if fitting else f"eval last {shlex.join(map(str, roots))}"
    first = "" if (report.folder / SAMPLES_FILE).exists() else "the other parts, then "
    return "\n".join([*lines, f"next: {first}cinemae-train {step}{where}"])


def run_fit(
    root: Path, key: str | None, augment: str | None, samples: Path | None, out: Path, options: MethodOptions,
    head: HeadConfig, config: FitConfig, name: str, demonstration: bool, embed: bool, backbone: str | None, quiet: bool,
) -> Path:
    """`cinemae-train fit`; `samples` is a recorded list, None: that of the last extraction into the cache."""
    folder = open_cache(root, augment, key, config.split).folder
    cache = FeatureCache(folder, read_samples(samples or folder / SAMPLES_FILE))
    method = options.of(cache.spec.method(options.k))
    embedded = None
    if embed:
        other = load_backbone(backbone or cache.spec.backbone.source)
        if other.info.sha256 != cache.spec.backbone.sha256:
            raise UsageError(
                f"{other.info.source} is not the backbone of this cache; name the right file with --backbone"
            )
        embedded = other.mae
    fit(cache, out, method, head, config, name=name, demonstration=demonstration, embed=embedded, quiet=quiet)
    warn_of_rates(read_manifest(out).calibration)
    return out


def warn_of_rates(calibration: Calibration) -> None:
    """Say on stderr what the calibration's images are too few, or of too few sources, to promise."""
    for warning in promise_warnings(calibration):
        print(f"warning: {warning}", file=sys.stderr)


def describe_fit(folder: Path) -> str:
    """The fit in two lines: data and recipe, and the next commands."""
    manifest = read_manifest(folder)
    t, held = manifest.training, manifest.metrics["held_out"]
    return (
        f"{folder}: {t.n_ai:,} AI and {t.n_real:,} real images of {', '.join(t.generators)}; {t.note}: "
        f"epoch {t.epochs}, held-out AUC {held['auc']:.4f} on {held['images']:,.0f} images\n"
        f"{promise_text(manifest.calibration)}\n"
        f"next: cinemae-train eval {folder} DATA    or    cinemae-export {folder}"
    )


def run_calibrate(folder: Path, rates: Rates) -> str:
    """`cinemae-train calibrate`; returns the new calibration in words."""
    manifest = load_head(folder).manifest
    scores = Scores.load(folder / SCORES_FILE)
    new = calibrate_probability(scores, manifest.calibration.fitted_on, rates)
    update_checkpoint(folder, manifest.model_copy(update={"calibration": new}), {})
    warn_of_rates(new)
    sign = "-" if new.b < 0 else "+"
    return (
        f"{folder}: probability = sigmoid({new.a:.4f} * logit {sign} {abs(new.b):.4f}); {new.fitted_on}\n"
        f"{promise_text(new)}\n{rates_table(new).plain(terminal_width())}\nnext: cinemae-export {folder}"
    )


def run_eval(
    checkpoint: Path, samples: Sequence[Sample], root: Path, machine: MachineOptions, augment: str,
    out: Path | None, resamples: int, seed: int, backbone: str | None,
) -> str:
    """`cinemae-train eval`; returns the table for the terminal."""
    loaded = load_head(checkpoint)
    paths = {os.path.abspath(sample.path) for sample in samples}
    spec = spec_of(loaded, root, paths, augment, machine.chosen_precision())
    report = machine.extract(samples, lambda: load_checkpoint_backbone(loaded, backbone), spec, root)
    cache = FeatureCache(report.folder, report.samples)
    scores = score(loaded, cache, cache.select(generators={sample.generator for sample in samples}))
    evaluation = evaluate(loaded, scores, resamples, seed)
    folder = out or loaded.folder / ("eval" if augment == "none" else f"eval-{augment}")
    written = write_eval(evaluation, scores, folder)
    if augment == "none":
        figures = {**loaded.manifest.metrics, **manifest_figures(evaluation)}
        manifest = loaded.manifest.model_copy(update={"metrics": figures})
        update_checkpoint(loaded.folder, manifest, {"eval": eval_json(evaluation)})
    lines = [
        eval_table(evaluation, intervals=False).plain(terminal_width()),
        verdict_table(evaluation.verdicts).plain(terminal_width()),
        wrapped(NOTE, terminal_width()),
        promise_kept(evaluation.verdicts, evaluation.calibration),
        f"written: {', '.join(str(path) for path in written)}",
    ]
    if report.skipped:
        lines.append(f"{len(report.skipped):,} unreadable files skipped (named above)")
    return "\n".join([*lines, f"next: cinemae-export {loaded.folder}"])


def manifest_figures(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """The figures that an engine carries, by generator/split; those that do not exist are left out."""
    names = ("accuracy", "real_accuracy", "fake_accuracy", "auc", "ap")
    figures = {}
    for group in evaluation.groups:
        values = {name: float(getattr(group.metrics, name)) for name in names}
        figures[f"{group.generator}/{group.split}"] = {n: v for n, v in values.items() if v == v}
    return figures
