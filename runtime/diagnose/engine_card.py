"""The card of an engine: licences, the promises of its verdicts, the images behind them, its weights and data."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..core.manifest import Manifest
from ..core.text import hanging, printable
from ..engines.load import plan_batch, read_engine_manifest, resolve
from ..scoring.likelihood_ratio import LikelihoodRatio, percent
from ..scoring.reading import words
from ..scoring.verdict import run_of

FIELDS = {"demonstration", "licence", "precision", "backbone", "method", "head", "calibration", "training", "tools"}
"""Of the manifest, in the card as JSON."""
INDENT = 14
RATIO_ROWS = 9
"""Of the table of likelihood ratios, at equal distances."""


def card(path: str | PathLike[str] | None = None) -> dict[str, Any]:
    """The card as plain JSON types. No backend is imported and nothing is scored.

    Args:
        path: as `load_engine`; None for the bundled engine.

    Raises:
        EngineError, ManifestError: the engine is missing, damaged or foreign.
    """
    found = resolve(path)
    manifest, batch = read_engine_manifest(found), plan_batch(found)
    named = {"engine": manifest.label, "path": str(found), "batch": None if batch is None else list(batch)}
    return named | manifest.model_dump(mode="json", include=FIELDS)


def card_lines(path: str | PathLike[str] | None = None, width: int | None = None) -> Iterator[str]:
    """The card for people, in lines of at most `width` columns; arguments and errors as `card`."""
    found = resolve(path)
    manifest, batch = read_engine_manifest(found), plan_batch(found)
    for name, text in _rows(manifest, found, batch):
        yield hanging(printable(f"{name:<{INDENT}}{text}"), INDENT, width)
    if likelihood := manifest.calibration.likelihood:
        yield "   score  likelihood ratio      real above  AI above"
        for logit in np.linspace(likelihood.logits[1], likelihood.logits[-2], RATIO_ROWS):
            ratio = cast("LikelihoodRatio", LikelihoodRatio.of(manifest.calibration, float(logit)))
            shares = f"{percent(ratio.real_share):>10}  {percent(ratio.ai_share):>8}"
            yield hanging(f"{logit:8.2f}  {ratio.interval:<20}  {shares}  {ratio.support}", INDENT, width)
    if sources := manifest.calibration.sources:
        longest = max(len(printable(rates.source)) for rates in sources)
        yield f"{'source':<{longest}}  class   images      ai  uncertain    real"
        for rates in sources:
            shares = f"{rates.ai:6.1%}  {rates.uncertain:9.1%}  {rates.real:6.1%}"
            few = "" if rates.counted else "  too few images: no rate is promised"
            line = f"{printable(rates.source):<{longest}}  {rates.label:<5}  {rates.images:>7,}  {shares}{few}"
            yield hanging(line, INDENT, width)


def _rows(manifest: Manifest, path: Path, batch: tuple[int, int, int] | None) -> Iterator[tuple[str, str]]:
    backbone, training, calibration = manifest.backbone, manifest.training, manifest.calibration
    batches = "batches of any size" if batch is None else "batches of {0} to {2}, best {1}".format(*batch)
    yield "engine", f"{manifest.label}: {path}"
    yield "file", f"{manifest.precision}, opset {manifest.tools.get('opset', 'unknown')}, {batches}"
    yield "licence", manifest.licence
    yield "backbone", f"{backbone.source} ({backbone.config.name}), SHA-256 {backbone.sha256[:12]}"
    yield "", f"licence: {backbone.licence}"
    if beside := backbone.global_encoder:
        yield "f_global", f"{beside.source} ({beside.size} px, {beside.dim} values), SHA-256 {beside.sha256[:12]}"
        yield "", f"licence: {beside.licence}"
    run = run_of(manifest)
    for verdict, at, threshold, measured in (
        ("ai", "from", run.ai_from, calibration.n_real), ("real", "below", run.real_below, calibration.n_ai),
    ):
        begins = "" if threshold is None else f"{at} a score of {threshold:.4g}: "
        yield verdict, f"{begins}{words(run)[verdict]}" + (f" ({measured:,} images)" if measured else "")
    yield "calibrated on", calibration.fitted_on
    yield "trained on", training.data or "not stated"
    images = f"{training.n_ai:,} AI and {training.n_real:,} real images"
    yield "", f"{images}, {training.epochs} epochs, augment {training.augment}"
    if training.generators:
        yield "", f"sources: {', '.join(training.generators)}"
    if training.note:
        yield "", training.note
