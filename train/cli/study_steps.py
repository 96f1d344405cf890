"""The work of the study commands, after `studies` has parsed their options; this imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...runtime.errors import UsageError
from ..audit.audit import Audit, audit
from ..data.generators import same_generators
from ..device import choose_device
from ..fitting.head_training import FitConfig
from ..option_groups import read_all
from ..studies.ablate import choose_parts
from ..studies.paper import ANALYSES, Budget, Studies, paper
from ..studies.study_data import StudyData


@dataclass(frozen=True)
class Common:
    """The options that all studies share.

    Attributes:
        data: labelled data.
        backbone: weights with encoder and decoder.
        cache: root of the feature cache.
        layout: layout of the data.
        roles: generators to train on, and those only reported.
        heads: epochs, batch size and number of seeds.
        limits: test and training images of each class and generator.
        workers: threads that decode images.
        device: "auto", "cpu" or "cuda".
        quiet: show no progress.
    """

    data: Sequence[Path]
    backbone: str
    cache: Path
    layout: str
    roles: tuple[Sequence[str] | None, Sequence[str] | None]
    heads: tuple[int, int, int]
    limits: tuple[int, int]
    workers: int
    device: str
    quiet: bool

    def study_data(self) -> StudyData:
        """List the images of the data; nothing is decoded or computed yet.

        Raises:
            UsageError: there is no data or no training split, or a generator is unknown.
        """
        samples = read_all(self.data, self.layout, None, None)
        train_on, report_only = self.roles
        (epochs, batch_size, seeds), (limit, train_limit) = self.heads, self.limits
        names = {sample.generator for sample in samples}
        if unknown := same_generators(report_only or (), names)[1]:
            there = ", ".join(sorted(names))
            raise UsageError(f"--report-only {', '.join(unknown)}: no such generator; there are: {there}")
        return StudyData.create(
            samples, self.backbone, self.cache, FitConfig(epochs=epochs, batch_size=batch_size), train_on=train_on,
            report_only=report_only or (), seeds=seeds, limit=limit, train_limit=train_limit, workers=self.workers,
            device=choose_device(self.device), quiet=self.quiet,
        )  # fmt: skip


def run_audit(
    data: Sequence[Path], layout: str, split: str | None, generators: Sequence[str] | None, limit: int, balanced: bool,
    out: Path | None, workers: int, quiet: bool,
) -> Audit:  # fmt: skip
    """`cinemae-train audit`."""
    samples = read_all(data, layout, split, generators)
    result = audit(samples, limit=limit, balanced=balanced, workers=workers, quiet=quiet)
    if out:
        result.write(out)
    return result


def run_studies(common: Common, names: Sequence[str], budget: Budget, out: Path) -> str:
    """Run some studies into `out` with an HTML page of their own; returns their tables for the terminal."""
    report = Studies(common.study_data(), budget, out).run(names)
    report = replace(report, title=", ".join(result.title for result, _ in report.studies))
    page = out / f"{'-'.join(names) if len(names) < 3 else 'studies'}.html"
    report.write_html(page)
    return f"{report.terminal()}\n{report.overview.ran}\nwritten: {page} and the folders beside it"


def run_ablate(common: Common, parts: str, budget: Budget, out: Path) -> str:
    """`cinemae-train ablate`."""
    return run_studies(common, choose_parts(parts), budget, out)


def run_analyze(common: Common, parts: str, budget: Budget, out: Path) -> str:
    """`cinemae-train analyze`.

    Raises:
        UsageError: a part is unknown; the message lists those that exist.
    """
    names = list(ANALYSES) if parts == "all" else [part.strip() for part in parts.split(",") if part.strip()]
    unknown = [name for name in names if name not in ANALYSES]
    if unknown or not names:
        raise UsageError(f"unknown analysis {', '.join(unknown)!r}; there are: {', '.join(ANALYSES)}, all")
    return run_studies(common, names, budget, out)


def run_paper(common: Common, budget: Budget, out: Path) -> str:
    """`cinemae-train paper`; returns the paper's figures beside this run's, and where the report is."""
    overview = paper(common.study_data(), budget, out).overview
    return f"{overview.terminal()}\nwritten: {out / 'report.html'}, {out / 'report.md'}"
