"""`paper`: the whole protocol, from weights to every table, resumable, into one report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path

from ...runtime.core.errors import CinemaeError
from ..audit.audit import audit
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
LIMITS = ("budget.limit", "budget.train_limit")


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
    "controls": Study("Controls", controls),
    "balanced": Study("Format-balanced protocol", balanced_protocol, LIMITS),
    "robustness": Study("Robustness", robustness, LIMITS),
    "statistics": Study("Ablation: statistics", statistics_subsets),
    "lambda": Study("Ablation: λ", lambdas),
    "pixels": Study("Ablation: pixel space and reductions", pixels),
    "fusion": Study("Ablation: fusion", fusions),
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
        CinemaeError: every one of the studies failed; the error of the first.
    """
    done: list[tuple[StudyResult, Path]] = []
    errors: list[Exception] = []
    chosen = {name: study for name, study in STUDIES.items() if name in names}
    for name, study in chosen.items():
        log.info("study: %s", name)
        folder = out / name
        try:
            options = {attribute: attrgetter(attribute)(experiment) for attribute in study.reads}
            parts = {"study": name, "setup": experiment.identity, **options}
            result = once(folder, study.title, parts, partial(study.make, experiment, folder))
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
    """Backbone, training data and recipe, for the head of the report."""
    one, config, fit = experiment, experiment.info.config, experiment.fit
    apart = ", ".join(one.report_only)
    rest = f"; reported only, nothing was chosen on them: {apart}" if apart else ""
    return (
        f"Backbone: {Path(one.backbone).name}, {config.encoder_dim} x {config.encoder_depth}, "
        f"SHA-256 {one.info.sha256[:16]}, licence {one.info.licence}.",
        f"Trained on {', '.join(fit.generators)}; {len(one.rows[0]):,} images to train on, "
        f"{len(one.rows[1]):,} held out, {len(one.eval_rows):,} tested{rest}.",
        f"Heads: {fit.epochs} epochs, batch {fit.batch_size}; seeds a figure: {one.seeds}.",
    )


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
