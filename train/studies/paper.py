"""`paper`: the whole protocol, from weights to every table, resumable, into one report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ...runtime.core.errors import CinemaeError
from ..audit.audit import audit
from ..reporting.report import Report
from ..reporting.result import StudyResult, once
from .ablate import CACHED_PARTS
from .ablate_backbones import backbones
from .ablate_freezing import freezing
from .ablate_masks import masks
from .choices import training_generators
from .controls import controls
from .correlate import correlate
from .decoder_curve import decoder_curve
from .experiment import Experiment
from .heatmaps import heatmaps
from .main_table import balanced, main_table
from .nll import nll_study
from .robustness import robustness
from .study_data import StudyData
from .training_sets import training_sets

log = logging.getLogger("cinemae.train")

AGAIN = "The same command tries this study again; it reads the results of the others from their folders."


@dataclass(frozen=True)
class Budget:
    """Limits of the studies that train or run the network.

    Attributes:
        freezing_epochs: epochs of the freezing ablation; None is those of the heads.
        curve_steps: steps of the decoder's training [Fig. 2].
        fresh_decoder: whether that training starts from a newly initialised decoder.
        other_backbones: backbones beside the main one [Table 5b].
        audit_limit: files of each class, generator and split that the audit reads.
        freezing_backbones: backbones of the freezing ablation beside the main one [Fig. 10].
    """

    freezing_epochs: int | None = None
    curve_steps: int = 1000
    fresh_decoder: bool = True
    other_backbones: tuple[str, ...] = ()
    audit_limit: int = 500
    freezing_backbones: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """A study that can run.

    Attributes:
        title: its title, where it fails before it has a result.
        make: runs it, given its folder.
        options: options that decide its figures, besides the main experiment.
    """

    title: str
    make: Callable[[Path], StudyResult]
    options: dict[str, Any] = field(default_factory=dict)


class Studies:
    """The studies by name, each run once into its own folder under `out`."""

    def __init__(self, data: StudyData, budget: Budget, out: Path) -> None:
        self.data, self.budget, self.out = data, budget, out
        self._main: Experiment | None = None
        self._small: Experiment | None = None

    @property
    def main(self) -> Experiment:
        """The experiment on all samples; extracts what the cache lacks."""
        if self._main is None:
            self._main = self.data.experiment()
        return self._main

    @property
    def small(self) -> Experiment:
        """The experiment on the thinned samples of the studies that run the network themselves, from the same cache."""
        if self._small is None:
            self._small = self.data.experiment(self.data.fill(self.data.train_samples() + self.data.test_samples()))
        return self._small

    def studies(self) -> dict[str, Study]:
        """Every study in the report's order."""
        data, budget, limits = self.data, self.budget, self.data.limits
        named = (data.backbone, *budget.other_backbones)
        thawed = (data.backbone, *budget.freezing_backbones)
        curve = {**limits, "steps": budget.curve_steps, "fresh": budget.fresh_decoder}
        first = {
            "audit": Study("Audit of the data", self._audit, {"limit": budget.audit_limit}),
            "main": Study("Main result", lambda out: main_table(self.main, out)),
            "controls": Study("Controls", lambda out: controls(self.main, out)),
            "balanced": Study("Format-balanced protocol", lambda out: balanced(data, out), limits),
            "robustness": Study("Robustness", lambda out: robustness(data, self.main, out), limits),
        }
        cached = {
            name: Study(f"Ablation: {name}", partial(self._cached, part)) for name, part in CACHED_PARTS.items()
        }
        return first | cached | {
            "training": Study("Training sets", lambda out: training_sets(data, out),
                              {**limits, "all": training_generators(data.samples)}),
            "masks": Study("Ablation: K and mask strategy", lambda out: masks(data, out), limits),
            "freezing": Study("Ablation: freezing", lambda out: freezing(data, out, thawed, budget.freezing_epochs),
                              {**limits, "epochs": budget.freezing_epochs, "names": thawed}),
            "backbones": Study("Ablation: backbone", lambda out: backbones(data, out, named),
                               {**limits, "names": named}),
            "nll": Study("Reconstruction error alone", lambda out: nll_study(self.main, out)),
            "curve": Study("NLL while the decoder alone is trained", lambda out: decoder_curve(
                data, self.small, out, budget.curve_steps, budget.fresh_decoder), curve),
            "spearman": Study("Correlation of the statistics with classical ones",
                              lambda out: correlate(self.main, out)),
            "heatmaps": Study("Heatmaps of successes and failures", lambda out: heatmaps(self.main, out)),
        }

    def _cached(self, part: Callable[[Experiment, Path], StudyResult], out: Path) -> StudyResult:
        return part(self.main, out)

    def _audit(self, out: Path) -> StudyResult:
        data = self.data
        result = audit(data.used, limit=self.budget.audit_limit, workers=data.workers, quiet=data.quiet)
        text = "\n\n".join(f"Warning: {warning}" for warning in result.warnings) or "Nothing to warn of."
        return StudyResult("audit", "Audit of the data", text, result.tables)

    def run(self, names: Sequence[str]) -> Report:
        """Run the named studies in the report's order; those done before are read.

        A study that fails does not stop the others: its result has the reason in place of tables.

        Raises:
            CinemaeError: every one of the studies failed; the error of the first.
        """
        done: list[tuple[StudyResult, Path]] = []
        errors: list[Exception] = []
        chosen = {name: study for name, study in self.studies().items() if name in names}
        for name, study in chosen.items():
            log.info("study: %s", name)
            folder = self.out / name
            try:
                parts = {"study": name, "setup": self.main.identity, **study.options}
                done.append((once(folder, parts, partial(study.make, folder)), folder))
            except Exception as error:  # a study may fail in any library; the others do not depend on it
                expected = isinstance(error, CinemaeError)
                log.error("study %s could not run: %s", name, error, exc_info=None if expected else error)
                reason = str(error) if expected else f"{type(error).__name__}: {error}"
                done.append((StudyResult(name, study.title, AGAIN, (), (), reason), folder))
                errors.append(error)
        if errors and len(errors) == len(done):
            raise errors[0]
        return Report(tuple(self.facts()), tuple(done), self.data.fit.generators)

    def facts(self) -> list[str]:
        """Backbone, training data and recipe, for the head of the report."""
        data, config = self.data, self.data.info.config
        apart = ", ".join(data.report_only)
        rest = f"; reported only, nothing was chosen on them: {apart}" if apart else ""
        return [
            f"Backbone: {Path(data.backbone).name}, {config.encoder_dim} x {config.encoder_depth}, "
            f"SHA-256 {data.info.sha256[:16]}, licence {data.info.licence}.",
            f"Trained on {', '.join(data.fit.generators)}; {len(self.main.rows[0]):,} images to train on, "
            f"{len(self.main.rows[1]):,} held out, {len(self.main.eval_rows):,} tested{rest}.",
            f"Heads: {data.fit.epochs} epochs, batch {data.fit.batch_size}; seeds a figure: {data.seeds}.",
        ]


def paper(data: StudyData, budget: Budget, out: Path) -> Report:
    """Run every study and write report.html and report.md into `out`; a second run does what the first left out.

    Raises:
        CinemaeError: every study failed.
    """
    studies = Studies(data, budget, out)
    report = studies.run(list(studies.studies()))
    report.write_html(out / "report.html")
    report.write_markdown(out / "report.md")
    return report
