"""`cinemae-train eval`: the figures of a checkpoint."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...runtime.cli.expand import expanded
from ...runtime.core.errors import UsageError
from ...runtime.core.option import Option
from ..compute import choose_device, choose_precision, prepare_process
from .shared import CACHE, Forward, Subset, check_backbone, check_folder, read_data

if TYPE_CHECKING:
    from ..data.sample import Sample
    from ..evaluation.evaluate import Evaluation

LAST = Path("last")
"""Stands for the checkpoint fitted last."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Which checkpoint is evaluated, and how.

    Attributes:
        checkpoint: checkpoint folder; last: the checkpoint fitted last.
        cache: root of the feature cache; features that it lacks are extracted.
        augment: change images before scoring. Default: delivery for a checkpoint that was fitted on it, else none.
        out: folder of tables and plots. Default: CHECKPOINT/eval.
        resamples: resamples of the generators, for the intervals of means; 0: none.
        seed: seed of the resamples.
        backbone: the backbone, where it is no longer at its recorded place.

    Raises:
        UsageError: an unknown augmentation.
    """

    checkpoint: Annotated[Path, Option(argument=True, metavar="CHECKPOINT")]
    cache: Path = CACHE
    augment: Annotated[str | None, Option(metavar="[none|robust|balanced|delivery]")] = None
    out: Path | None = None
    resamples: Annotated[int, Option(minimum=0)] = 2000
    seed: Annotated[int, Option(minimum=0)] = 0
    backbone: str | None = None

    def __post_init__(self) -> None:
        from ..data.transforms import check_augment

        check_augment(self.augment or "none")


@expanded
def eval_command(options: EvalOptions, data: Subset, forward: Forward) -> None:
    """Report a checkpoint's figures, generator by generator.

    AUC against real images of the same content and against all, accuracy, AP and calibration, with intervals. Features
    that the cache lacks are extracted. Images that the head was fitted on are left out, whatever their names.
    """
    from ..fitting.checkpoint_folder import last_checkpoint, read_manifest

    folder = options.checkpoint
    folder = last_checkpoint() if folder == LAST and not folder.exists() else folder
    read_manifest(folder)
    check_folder("--out", options.out or folder)
    check_folder("--cache", options.cache)
    samples = [sample for sample in read_data(data) if data.split or sample.split != "train"]
    if not samples:
        raise UsageError("there is no split but train in this data; name it to score it too: --split train")
    if options.backbone:
        check_backbone(options.backbone)
    prepare_process(forward.threads)
    typer.echo(evaluated(folder, samples, data.split, options, forward))


def evaluated(
    folder: Path, samples: Sequence[Sample], split: str | None, options: EvalOptions, forward: Forward
) -> str:
    """Evaluate; returns the tables for the terminal.

    Args:
        folder: the checkpoint.
        samples: the images.
        split: the only split that was asked for. Where it is that of the fit, the images of the fit are scored too.
        options: what else is evaluated.
        forward: resources.

    Raises:
        UsageError: the head was fitted on every image.
    """
    from ...runtime.core.text import terminal_width
    from ..data.transforms import DELIVERY
    from ..evaluation.eval_files import eval_json, eval_table, write_eval
    from ..evaluation.evaluate import evaluate, score, spec_of
    from ..evaluation.verdicts import promise_kept, verdict_table
    from ..features.cache import FeatureCache
    from ..features.extract import extract
    from ..fitting.checkpoint import fitted_samples, load_checkpoint_backbone, load_head
    from ..fitting.checkpoint_folder import EVAL_FOLDER, update_checkpoint
    from ..reporting.tables import wrapped

    loaded, device = load_head(folder), choose_device(forward.device)
    usual = DELIVERY if loaded.manifest.calibration.lowest_quality else "none"
    augment = options.augment or usual
    known = {sample.content for sample in fitted_samples(folder) if sample.split != split}
    paths = {sample.absolute for sample in samples}
    spec = spec_of(loaded, options.cache, paths, augment, choose_precision(forward.precision, device))
    report = extract(
        samples, lambda: load_checkpoint_backbone(loaded, options.backbone), spec, options.cache,
        batch_size=forward.batch_size, workers=forward.workers, device=device, quiet=forward.quiet,
    )
    fresh, seen = ([s for s in report.samples if (s.content in known) == inside] for inside in (False, True))
    if seen and not fresh:
        raise UsageError(f"the head was fitted on all {len(seen):,} images, whatever their names: nothing is left")
    cache = FeatureCache(report.folder, fresh)
    scores = score(loaded, cache, cache.select(generators={sample.generator for sample in samples}))
    evaluation = evaluate(loaded, scores, options.resamples, options.seed)
    out = options.out or folder / (EVAL_FOLDER if augment == usual else f"{EVAL_FOLDER}-{augment}")
    written = write_eval(evaluation, scores, out)
    if augment == usual:
        figures = {**loaded.manifest.metrics, **manifest_figures(evaluation)}
        manifest = loaded.manifest.model_copy(update={"metrics": figures})
        update_checkpoint(folder, manifest, {"eval": eval_json(evaluation)})
    table = eval_table(evaluation, brief=True)
    lines = [
        table.plain(terminal_width()),
        wrapped(table.note, terminal_width()),
        verdict_table(evaluation.verdicts).plain(terminal_width()),
        promise_kept(evaluation.verdicts, evaluation.calibration),
        f"all figures with intervals: {', '.join(str(path) for path in written)}",
    ]
    if seen:
        lines.append(f"{len(seen):,} images left out: the head was fitted on the same bytes, the first {seen[0].path}")
    if report.skipped:
        lines.append(f"{len(report.skipped):,} unreadable files skipped (the first are named above)")
    moved = f" --backbone {shlex.quote(options.backbone)}" if options.backbone else ""
    return "\n".join([*lines, f"next: cinemae export {shlex.quote(str(folder))}{moved}"])


def manifest_figures(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """The figures that an engine carries, by generator/split; figures that do not exist are left out."""
    names = ("auc", "auc_all_real", "ap", "coverage", "accuracy", "real_accuracy", "fake_accuracy")
    figures = {}
    for group in evaluation.groups:
        values = {name: float(getattr(group.metrics, name)) for name in names}
        figures[f"{group.generator}/{group.split}"] = {n: v for n, v in values.items() if v == v}
    return figures
