"""The work of the study commands, after `studies` has parsed their options; this imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..audit.audit import Audit, audit
from ..compute import choose_device
from ..data.sample import Sample
from ..fitting.fit_config import FitConfig
from ..studies.budget import Budget
from ..studies.choices import choose_training
from ..studies.experiment import Experiment
from ..studies.paper import paper, report_studies


@dataclass(frozen=True)
class Common:
    """The options that all studies share.

    Attributes:
        samples: labelled images.
        backbone: weights with encoder and decoder.
        cache: root of the feature cache.
        roles: generators to train on, and those only reported.
        heads: epochs, batch size and number of seeds.
        limits: test and training images of each class and generator.
        workers: threads that decode images.
        device: "auto", "cpu" or "cuda".
        quiet: show no progress.
    """

    samples: Sequence[Sample]
    backbone: str
    cache: Path
    roles: tuple[Sequence[str] | None, Sequence[str] | None]
    heads: tuple[int, int, int]
    limits: tuple[int, int]
    workers: int
    device: str
    quiet: bool

    def experiment(self, budget: Budget) -> Experiment:
        """The samples with their roles; nothing is decoded or computed yet.

        Raises:
            UsageError: there is no training split of a generator.
        """
        train_on, report_only = self.roles
        epochs, batch_size, seeds = self.heads
        limit, train_limit = self.limits
        fit = FitConfig(generators=choose_training(self.samples, train_on), epochs=epochs, batch_size=batch_size)
        return Experiment(
            samples=self.samples, backbone=self.backbone, root=self.cache, fit=fit, seeds=seeds,
            report_only=tuple(report_only or ()), budget=replace(budget, limit=limit, train_limit=train_limit),
            workers=self.workers, device=choose_device(self.device), quiet=self.quiet,
        )


def run_audit(
    samples: Sequence[Sample], limit: int, balanced: bool, out: Path | None, workers: int, quiet: bool
) -> Audit:
    """`cinemae-train audit`."""
    result = audit(samples, limit=limit, balanced=balanced, workers=workers, quiet=quiet)
    if out:
        result.write(out)
    return result


def run_some(common: Common, names: Sequence[str], budget: Budget, out: Path) -> str:
    """Run some studies into `out` with an HTML page of their own; returns their tables for the terminal."""
    report, page = report_studies(common.experiment(budget), names, out)
    return f"{report.terminal()}\n{report.overview.ran}\nwritten: {page} and the folders beside it"


def run_paper(common: Common, budget: Budget, out: Path) -> str:
    """`cinemae-train paper`; returns the paper's figures beside this run's, and where the report is."""
    overview = paper(common.experiment(budget), out).overview
    return f"{overview.terminal()}\nwritten: {out / 'report.html'}, {out / 'report.md'}"
