"""`paper`: the whole protocol, from weights to every table, resumable, into one report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...runtime.errors import CinemaeError
from ..audit.audit import audit
from ..tables import Table
from .ablate import CACHED_PARTS
from .ablate_backbones import backbones
from .ablate_freezing import freezing
from .ablate_masks import masks
from .controls import controls
from .correlate import correlate
from .decoder_curve import decoder_curve
from .experiment import Experiment, training_generators
from .heatmaps import heatmaps
from .main_table import balanced, main_table
from .nll import nll_study
from .report import write_html, write_markdown
from .result import StudyResult, once
from .robustness import robustness
from .study_data import StudyData
from .training_sets import training_sets

log = logging.getLogger("cinemae.train")

ANALYSES = ("nll", "curve", "spearman", "heatmaps")


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

    def makers(self) -> dict[str, tuple[Callable[[Path], StudyResult], dict[str, Any]]]:
        """Every study in the report's order: a function of its folder, and the options that decide its figures."""
        data, budget = self.data, self.budget
        named = (data.backbone, *budget.other_backbones)
        thawed = (data.backbone, *budget.freezing_backbones)
        makers: dict[str, tuple[Callable[[Path], StudyResult], dict[str, Any]]] = {
            "audit": (self._audit, {"limit": budget.audit_limit}),
            "main": (lambda out: main_table(self.main, out), {}),
            "controls": (lambda out: controls(self.main, out), {}),
            "balanced": (lambda out: balanced(data, out), data.limits),
            "robustness": (lambda out: robustness(data, self.main, out), data.limits),
        }
        makers |= {name: (partial(self._cached, part), {}) for name, part in CACHED_PARTS.items()}
        makers |= {
            "training": (lambda out: training_sets(data, out),
                         {**data.limits, "all": training_generators(data.samples)}),
            "masks": (lambda out: masks(data, out), data.limits),
            "freezing": (lambda out: freezing(data, out, thawed, budget.freezing_epochs),
                         {**data.limits, "epochs": budget.freezing_epochs, "names": thawed}),
            "backbones": (lambda out: backbones(data, out, named), {**data.limits, "names": named}),
            "nll": (lambda out: nll_study(self.main, out), {}),
            "curve": (lambda out: decoder_curve(data, self.small, out, budget.curve_steps, budget.fresh_decoder),
                      {**data.limits, "steps": budget.curve_steps, "fresh": budget.fresh_decoder}),
            "spearman": (lambda out: correlate(self.main, out), {}),
            "heatmaps": (lambda out: heatmaps(self.main, out), {}),
        }  # fmt: skip
        return makers

    def _cached(self, part: Callable[[Experiment, Path], StudyResult], out: Path) -> StudyResult:
        return part(self.main, out)

    def _audit(self, out: Path) -> StudyResult:
        data = self.data
        result = audit(data.used, limit=self.budget.audit_limit, workers=data.workers, quiet=data.quiet)
        text = "\n\n".join(f"Warning: {warning}" for warning in result.warnings) or "Nothing to warn of."
        return StudyResult("audit", "Audit of the data", text, result.tables)

    def run(self, names: Sequence[str]) -> list[tuple[StudyResult, Path]]:
        """Run the named studies in the report's order; those done before are read.

        A study that fails does not stop the others. The first result is then a table of those that failed, with the
        reasons.

        Returns:
            Each result with its folder.

        Raises:
            CinemaeError: every one of the studies failed; the error of the first.
        """
        makers = self.makers()
        done: list[tuple[StudyResult, Path]] = []
        errors: dict[str, Exception] = {}
        for name in (name for name in makers if name in names):
            make, options = makers[name]
            log.info("study: %s", name)
            folder = self.out / name
            try:
                parts = {"study": name, "setup": self.main.identity, **options}
                done.append((once(folder, parts, partial(make, folder)), folder))
            except Exception as error:  # a study may fail in any library; the others do not depend on it
                expected = isinstance(error, CinemaeError)
                log.error("study %s could not run: %s", name, error, exc_info=None if expected else error)
                errors[name] = error
        if errors and not done:
            raise next(iter(errors.values()))
        return [(_not_run(errors), self.out), *done] if errors else done

    def facts(self) -> list[str]:
        """Backbone, training data and recipe, for the head of the report."""
        data, config = self.data, self.data.info.config
        apart = ", ".join(data.report_only)
        rest = f"; reported only, nothing was chosen on them: {apart}" if apart else ""
        return [
            f"Backbone: {Path(data.backbone).name}, {config.encoder_dim} x {config.encoder_depth}, "
            f"SHA-256 {data.info.sha256[:16]}, licence {data.info.licence}.",
            f"Trained on {', '.join(data.fit.generators or ())}; {len(self.main.rows[0]):,} images to train on, "
            f"{len(self.main.rows[1]):,} held out, {len(self.main.eval_rows):,} tested{rest}.",
            f"Heads: {data.fit.epochs} epochs, batch {data.fit.batch_size}; seeds a figure: {data.seeds}.",
        ]


def _not_run(errors: Mapping[str, Exception]) -> StudyResult:
    """A table of the studies that failed."""
    rows = tuple(
        (name, str(error) if isinstance(error, CinemaeError) else f"{type(error).__name__}: {error}")
        for name, error in errors.items()
    )
    title = "Studies that could not run"
    text = "The same command tries them again; it reads the results of the others from their folders."
    return StudyResult("not_run", title, text, (Table("not_run", title, ("study", "reason"), rows),))


def paper(data: StudyData, budget: Budget, out: Path) -> list[Path]:
    """Run every study and write report.html and report.md into `out`; a second run does what the first left out.

    Returns:
        The two paths.

    Raises:
        CinemaeError: every study failed.
    """
    studies = Studies(data, budget, out)
    results = studies.run(list(studies.makers()))
    title = "CINEMAE: the paper's tables"
    write_html(out / "report.html", title, studies.facts(), results)
    write_markdown(out / "report.md", title, studies.facts(), results)
    return [out / "report.html", out / "report.md"]
