"""`paper`: the whole protocol, from weights to every table, resumable, into one report."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from operator import attrgetter
from pathlib import Path

from ...runtime.core.environment import cinemae_version
from ...runtime.core.errors import CinemaeError
from ...runtime.core.progress import duration, step
from ..audit.audit import audit
from ..data.generators import canonical
from ..reporting.report import Report
from ..reporting.result import StudyResult, once
from .ablations import backbones, fusions, lambdas, masks, pixels, statistics_subsets, training_sets
from .controls import balanced_protocol, controls
from .correlate import correlate
from .decoder_curve import decoder_curve
from .experiment import Experiment
from .freezing import freezing
from .heatmaps import heatmaps
from .main_table import main_table
from .nll import nll_study
from .robustness import robustness

log = logging.getLogger("cinemae.train")

AGAIN = "The same command tries this study again; it reads the results of the others from their folders."
PAPER_BACKBONE = (1024, 24, 16)
"""Width, depth and patch size of ViT-L/16."""
PAPER_IMAGES = 320_000
"""About as many as GenImage's SD v1.4 has to train on, of both classes."""
PAPER_TRAINING = ("SD v1.4", "ProGAN")
"""The paper trains on one of these, for GenImage and for AIGCDetectBenchmark."""
LIMITS = ("budget.limit", "budget.train_limit")
ENCODER = ("budget.global_encoder",)


@dataclass(frozen=True)
class Study:
    """A study that can run.

    Attributes:
        title: heading of its result.
        make: runs it, given its folder.
        reads: attributes of the experiment that decide its figures, besides `Experiment.identity`.
    """

    title: str
    make: Callable[[Experiment, Path], StudyResult]
    reads: tuple[str, ...] = ()


def audited(experiment: Experiment, out: Path) -> StudyResult:
    """Traces that give the classes away without looking at a picture."""
    found = audit(experiment.used, limit=experiment.budget.audit_limit, workers=experiment.workers,
                  quiet=experiment.quiet)
    text = "\n\n".join(f"Warning: {warning}" for warning in found.warnings) or "Nothing to warn of."
    return StudyResult(text, found.tables)


STUDIES = {
    "audit": Study("Audit of the data", audited, ("budget.audit_limit",)),
    "main": Study("Main result", main_table),
    "controls": Study("Controls", controls, ENCODER),
    "balanced": Study("Format-balanced protocol", balanced_protocol, LIMITS),
    "robustness": Study("Robustness", robustness, LIMITS),
    "statistics": Study("Ablation: statistics", statistics_subsets),
    "lambda": Study("Ablation: λ", lambdas),
    "pixels": Study("Ablation: pixel space and reductions", pixels),
    "fusion": Study("Ablation: fusion", fusions, ENCODER),
    "training": Study("Training sets", training_sets, (*LIMITS, "trainable")),
    "masks": Study("Ablation: K and mask strategy", masks, LIMITS),
    "freezing": Study("Ablation: freezing", freezing,
                      (*LIMITS, "budget.freezing_epochs", "budget.freezing_backbone", "backbone")),
    "backbones": Study("Ablation: backbone", backbones, (*LIMITS, "budget.other_backbone", "backbone")),
    "nll": Study("Reconstruction error alone", nll_study),
    "curve": Study("NLL while the decoder alone is trained", decoder_curve,
                   (*LIMITS, "budget.curve_steps", "budget.fresh_decoder")),
    "spearman": Study("Correlation of the statistics with classical statistics", correlate),
    "heatmaps": Study("Heatmaps of successes and failures", heatmaps),
}
"""All studies in the report's order; each has a folder of its name."""


def run_studies(experiment: Experiment, names: Collection[str], out: Path) -> Report:
    """Run the named studies in the report's order, each into a folder under `out`; those done before are read.

    A study that fails does not stop the others: its result has the reason in place of tables.

    Raises:
        CinemaeError: the data or weights do not serve, or every one of the studies failed; the error of the first.
    """
    setup = experiment.identity  # extracts, which takes longer than a study
    took: list[float] = []

    def timed(study: Study, folder: Path) -> StudyResult:
        began = time.monotonic()
        result = study.make(experiment, folder)
        took.append(time.monotonic() - began)
        return result

    done: list[tuple[StudyResult, Path]] = []
    errors: list[Exception] = []
    chosen = {name: study for name, study in STUDIES.items() if name in names}
    for i, (name, study) in enumerate(chosen.items(), 1):
        folder, title = out / name, f"study {i} of {len(chosen)}, {name}"
        if not experiment.quiet:
            left = duration(sum(took) / len(took) * (len(chosen) - i + 1)) if took else ""
            log.info("%s%s", title, f"; about {left} left, at the pace of the studies before" * bool(left))
        try:
            options = {attribute: attrgetter(attribute)(experiment) for attribute in study.reads}
            with step(title, shared=True):
                result = once(folder, study.title, {"study": name, "setup": setup, **options},
                              partial(timed, study, folder))
        except Exception as error:  # a study may fail in any library; the others do not depend on it
            expected = isinstance(error, CinemaeError)
            log.error("study %s could not run: %s", name, error, exc_info=None if expected else error)
            reason = str(error) if expected else f"{type(error).__name__}: {error}"
            result = StudyResult(AGAIN, name=name, title=study.title, error=reason)
            errors.append(error)
        done.append((result, folder))
    if errors and len(errors) == len(done):
        raise errors[0]
    return Report(facts(experiment), tuple(done), experiment.fit.generators)


def facts(experiment: Experiment) -> tuple[str, ...]:
    """What is not comparable with the paper, how the run was made, backbone, training data and recipe."""
    one, config, fit = experiment, experiment.info.config, experiment.fit
    apart = ", ".join(one.report_only)
    rest = f"; reported only, nothing was chosen on them: {apart}" if apart else ""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return (
        *not_comparable(one),
        f"CINEMAE {cinemae_version()}, {datetime.now(timezone.utc):%Y-%m-%d}, command: {command}",
        f"Data: {len(one.cache.rows):,} images, SHA-256 of their contents, labels, generators and splits: "
        f"{one.identity['rows']}.",
        f"Backbone: {Path(one.backbone).name}, {config.encoder_dim} x {config.encoder_depth}, "
        f"SHA-256 {one.info.sha256[:16]}, licence {one.info.licence}.",
        f"Trained on {', '.join(fit.generators)}; {len(one.rows[0]):,} images to train on, "
        f"{len(one.rows[1]):,} held out, {len(one.eval_rows):,} tested{rest}.",
        f"Heads: {fit.epochs} epochs, batch {fit.batch_size}; seeds a figure: {one.seeds}.",
    )


def not_comparable(experiment: Experiment) -> tuple[str, ...]:
    """A sentence: what differs from the paper in backbone, training set and its size; () if nothing does."""
    config, names = experiment.info.config, experiment.fit.generators
    count = len(experiment.rows[0]) + len(experiment.rows[1])
    differs = []
    if (config.encoder_dim, config.encoder_depth, config.patch_size) != PAPER_BACKBONE:
        differs.append(f"the backbone is {config.encoder_dim} x {config.encoder_depth} with patches of "
                       f"{config.patch_size} px (paper: ViT-L/16, 1024 x 24)")
    if len(names) != 1 or canonical(names[0]) not in map(canonical, PAPER_TRAINING):
        differs.append(f"trained on {', '.join(names)} (paper: {' or '.join(PAPER_TRAINING)})")
    if canonical("ProGAN") not in map(canonical, names) and count < PAPER_IMAGES:
        differs.append(f"{count:,} training images (paper: about {PAPER_IMAGES:,})")
    return (f"Not comparable with the paper's figures: {'; '.join(differs)}.",) if differs else ()


def report_studies(experiment: Experiment, names: Collection[str], out: Path) -> tuple[Report, Path]:
    """`run_studies`, and a page of the results in `out`, named after the studies."""
    report = run_studies(experiment, names, out)
    report = replace(report, title=", ".join(result.title for result, _ in report.studies))
    page = out / f"{'-'.join(names) if len(names) < 3 else 'studies'}.html"
    report.write_html(page)
    return report, page


def paper(experiment: Experiment, out: Path) -> Report:
    """Run every study and write report.html and report.md into `out`; a second run does the studies that are missing.

    Raises:
        CinemaeError: every study failed.
    """
    report = run_studies(experiment, STUDIES, out)
    report.write_html(out / "report.html")
    report.write_markdown(out / "report.md")
    return report
