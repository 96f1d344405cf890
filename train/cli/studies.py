"""`cinemae-train audit`, `controls`, `robustness`, `ablate`, `analyze` and `paper`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...runtime.cli.expand import expanded
from ...runtime.core.option import Option
from ..compute import choose_device, prepare_process
from ..fitting.fit_config import FitConfig
from ..studies.budget import AblationBudget, AnalysisBudget, Budget, ComparedBudget, Limits
from ..studies.choices import check_report_only, choose_studies, choose_training
from .shared import CACHE, Data, Machine, Process, Subset, check_backbone, check_folder, read_data

if TYPE_CHECKING:
    from ..studies.experiment import Experiment

LARGE = "facebook/vit-mae-large"
Parts = Annotated[
    str,
    typer.Option(
        help="Comma list of statistics, lambda, pixels, fusion, training, masks, freezing, backbones; or all, cached."
    ),
]
Analyses = Annotated[str, typer.Option(help="Comma list of nll, curve, spearman, heatmaps; or all.")]
Balanced = Annotated[bool, typer.Option("--balanced", help="Run the format-balanced protocol too.")]


@dataclass(frozen=True, kw_only=True)
class AuditOptions(Subset):
    """What an audit reads, and where it writes.

    Attributes:
        limit: files read of each class, generator and split; 0: all.
        balanced: audit the files that the format-balanced protocol makes.
        out: folder for audit.md, audit.json and the tables.
        workers: threads that decode images.
    """

    limit: Annotated[int, Option(minimum=0)] = 500
    balanced: bool = False
    out: Path | None = None
    workers: Annotated[int, Option(minimum=1)] = 2


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Repetition of a study.

    Attributes:
        seeds: heads fitted for each figure; tables give mean and spread.
    """

    seeds: Annotated[int, Option(minimum=1)] = 1


@dataclass(frozen=True, kw_only=True)
class Heads(Data):
    """Labelled data, and the heads that a study fits on it.

    Attributes:
        train_on: generator to train on; repeatable; all: every generator. Default: the paper's.
        report_only: generator that is only reported, with a mean of its own; repeatable.
        epochs: epochs of every head.
        batch_size: batch of every head; 32 is the paper's.
    """

    train_on: tuple[str, ...] = ()
    report_only: tuple[str, ...] = ()
    epochs: Annotated[int, Option(minimum=1)] = 25
    batch_size: Annotated[int, Option(minimum=1)] = 32


@dataclass(frozen=True, kw_only=True)
class StudyOptions(Heads):
    """What every study takes.

    Attributes:
        backbone: weights with encoder and decoder: file, folder or Hugging Face id.
        out: folder of the results.
        cache: root of the feature cache.
    """

    backbone: str
    out: Path = Path("runs/studies")
    cache: Path = CACHE


@dataclass(frozen=True, kw_only=True)
class PaperOptions(Heads):
    """What the whole protocol takes.

    Attributes:
        data: labelled data; repeat to test on several sets.
        backbone: weights with encoder and decoder: file, folder or Hugging Face id.
        out: folder of all results; report.html and report.md at the end.
        cache: root of the feature cache. Default: OUT/cache.
        seeds: heads fitted for each figure; tables give mean and spread.
    """

    data: Annotated[tuple[str, ...], Option(names=("--data",))]
    out: Path
    backbone: str = LARGE
    cache: Path | None = None
    seeds: Annotated[int, Option(minimum=1)] = 3


@dataclass(frozen=True, kw_only=True)
class PaperBudget(Budget):
    """The budget of the whole protocol."""

    limit: Annotated[int, Option(minimum=0)] = 1000
    train_limit: Annotated[int, Option(minimum=0)] = 5000


@expanded
def audit_command(options: AuditOptions, process: Process) -> None:
    """List what a data set holds, and what gives its classes away.

    Measured is how well the classes can be told apart without looking at a picture.
    """
    if options.out:
        check_folder("--out", options.out)
    samples = read_data(options)
    prepare_process(process.threads)
    from ..audit.audit import audit

    result = audit(samples, limit=options.limit, balanced=options.balanced, workers=options.workers,
                   quiet=process.quiet)
    if options.out:
        result.write(options.out)
    typer.echo(result.terminal())
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)


@expanded
def controls_command(
    options: StudyOptions, limits: ComparedBudget, seeds: Seeds, machine: Machine, balanced: Balanced = False
) -> None:
    """Compare the detector with simpler detectors.

    These are f_global alone, s1..s3 alone, a spectrum probe and a JPEG probe, on the same images.
    """
    names = ["controls", "balanced"] if balanced else ["controls"]
    typer.echo(studied(names, experiment(options, limits, machine, seeds.seeds), options.out))


@expanded
def robustness_command(options: StudyOptions, limits: Limits, seeds: Seeds, machine: Machine) -> None:
    """Test under JPEG, noise, blur, downscaling and grayscale.

    The images are changed at their native size [Table 3, Fig. 6].
    """
    typer.echo(studied(["robustness"], experiment(options, limits, machine, seeds.seeds), options.out))


@expanded
def ablate_command(
    options: StudyOptions, budget: AblationBudget, seeds: Seeds, machine: Machine, parts: Parts = "cached"
) -> None:
    """Run the paper's ablations [Tables 4-7, Figure 10].

    Those called `cached` need the cached features alone.
    """
    names = choose_studies("ablation", parts)
    typer.echo(studied(names, experiment(options, budget, machine, seeds.seeds), options.out))


@expanded
def analyze_command(options: StudyOptions, budget: AnalysisBudget, machine: Machine, parts: Analyses = "all") -> None:
    """Analyse reconstruction error, correlations and heatmaps.

    The error alone, its curve while the decoder is trained, and the pictures of Fig. 2-4 and 7-9.
    """
    names = choose_studies("analysis", parts)
    typer.echo(studied(names, experiment(options, budget, machine), options.out))


@expanded
def paper_command(options: PaperOptions, budget: PaperBudget, machine: Machine) -> None:
    """Run the paper's whole protocol into one report.

    A command that was stopped continues where it was.
    """
    whole, out = experiment(options, budget, machine, options.seeds), options.out
    from ..studies.paper import paper

    typer.echo(f"{paper(whole, out).overview.terminal()}\nwritten: {out / 'report.html'}, {out / 'report.md'}")


COMMANDS = (
    audit_command, controls_command, robustness_command, ablate_command, analyze_command, paper_command
)


def experiment(
    options: StudyOptions | PaperOptions, budget: Limits, machine: Machine, seeds: int = 1
) -> Experiment:
    """Check what all studies take, and make the experiment; nothing is decoded or computed yet.

    Raises:
        UsageError: a wrong option, or data that lacks a training split or a generator.
    """
    cache, whole = options.cache or options.out / "cache", Budget(**vars(budget))
    check_folder("--out", options.out)
    check_folder("--cache", cache)
    samples = read_data(options)
    check_report_only(samples, options.report_only)
    trained = choose_training(samples, options.train_on)
    for source in (options.backbone, *whole.other_backbone, *whole.freezing_backbone):
        check_backbone(source)
    prepare_process(machine.threads)
    from ..studies.experiment import Experiment

    return Experiment(
        samples=samples, backbone=options.backbone, root=cache, report_only=options.report_only, seeds=seeds,
        fit=FitConfig(generators=trained, epochs=options.epochs, batch_size=options.batch_size), budget=whole,
        workers=machine.workers, device=choose_device(machine.device), quiet=machine.quiet,
    )


def studied(names: Sequence[str], whole: Experiment, out: Path) -> str:
    """Run studies into `out` with an HTML page of their own; returns their tables for the terminal."""
    from ..studies.paper import report_studies

    report, page = report_studies(whole, names, out)
    return f"{report.terminal()}\n{report.overview.ran}\nwritten: {page} and the folders beside it"
