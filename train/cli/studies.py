"""The options of the study commands: audit, controls, robustness, ablate, analyze, paper.

`study_steps` does their work. It imports torch, so that a command imports it when it runs, and `--help` never does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared_options import CACHE, Cache, Data, Device, Layout, Quiet, Threads

if TYPE_CHECKING:
    from .study_steps import Common

DataOption = Annotated[list[Path], typer.Option("--data", help="Labelled data; repeat to test on several sets.")]
Backbone = Annotated[str, typer.Option(help="Weights with encoder and decoder: file, folder or Hugging Face id.")]
TrainOn = Annotated[
    list[str] | None,
    typer.Option("--train-on", help="Generator to train on; repeatable; all: every one. Default: the paper's."),
]
ReportOnly = Annotated[
    list[str] | None,
    typer.Option("--report-only", help="Generator that is only reported, with a mean of its own; repeatable."),
]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs of every head.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Batch of every head; 32 is the paper's.")]
Seeds = Annotated[int, typer.Option(min=1, help="Heads fitted for each figure; tables give mean and spread.")]
Limit = Annotated[
    int,
    typer.Option(min=0, help="Test images of each class and generator in studies that run the network; 0: all."),
]
TrainLimit = Annotated[
    int, typer.Option(min=0, help="Training images of each class and generator in those studies; 0: all.")
]
Workers = Annotated[int, typer.Option(min=1, help="Threads that decode images.")]
CurveSteps = Annotated[int, typer.Option(min=1, help="Steps of decoder training [Fig. 2].")]
FreshDecoder = Annotated[
    bool, typer.Option("--fresh-decoder/--pretrained-decoder", help="Decoder with which the curve of Fig. 2 starts.")
]
FreezingEpochs = Annotated[int | None, typer.Option(min=1, help="Epochs of the unfrozen trainings; default: --epochs.")]
OtherBackbones = Annotated[
    list[str] | None, typer.Option("--other-backbone", help="Another backbone to compare [Table 5b]; repeatable.")
]

FreezingBackbones = Annotated[
    list[str] | None,
    typer.Option("--freezing-backbone", help="Another backbone for the freezing ablation [Fig. 10]; repeatable."),
]
AblationParts = Annotated[
    str,
    typer.Option(
        help="Comma list of statistics, lambda, pixels, fusion, training, masks, freezing, backbones; or all, cached."
    ),
]

STUDIES = Path("runs/studies")
LARGE = "facebook/vit-mae-large"


def _common(
    data: list[Path], backbone: str, cache: Path, out: Path, layout: str,
    roles: tuple[list[str] | None, list[str] | None], heads: tuple[int, int, int], limits: tuple[int, int],
    machine: tuple[int, str, int, bool], backbones: Sequence[str] = (),
) -> Common:
    """Check and collect the options that all studies share, and prepare the process.

    Args:
        data: labelled data.
        backbone: weights with encoder and decoder.
        cache: root of the feature cache.
        out: folder of the results.
        layout: layout of the data.
        roles: generators to train on, and those only reported.
        heads: epochs, batch size and number of seeds.
        limits: test and training images of each class and generator.
        machine: workers, device, threads, quiet.
        backbones: further weights.
    """
    from ..compute import check_device
    from ..data.samples import read_all
    from ..studies.choices import check_report_only, choose_training
    from .shared import check_backbone, check_folder

    workers, device, threads, quiet = machine
    check_device(device)
    check_folder("--out", out)
    check_folder("--cache", cache)
    samples = read_all(data, layout=layout)
    check_report_only(samples, roles[1] or ())
    choose_training(samples, roles[0])
    for source in (backbone, *backbones):
        check_backbone(source)
    from ..compute import prepare_process
    from .study_steps import Common

    prepare_process(threads)
    return Common(samples, backbone, cache, roles, heads, limits, workers, device, quiet)


def audit(
    data: Data,
    layout: Layout = "auto",
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    generator: Annotated[list[str] | None, typer.Option("--generator", "-g", help="Only this one; repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Files read of each class, generator and split; 0: all.")] = 500,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Audit the files that the format-balanced protocol makes.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for audit.md, audit.json and the tables.")] = None,
    workers: Workers = 2,
    quiet: Quiet = False,
) -> None:
    """List what a data set holds, and measure how well its classes can be told apart without looking at a picture."""
    from ..data.samples import read_all
    from .shared import check_folder

    if out:
        check_folder("--out", out)
    samples = read_all(data, layout=layout, split=split, generators=generator or ())
    from ..compute import prepare_process
    from .study_steps import run_audit

    prepare_process()
    result = run_audit(samples, limit, balanced, out, workers, quiet)
    typer.echo(result.terminal())
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def controls(
    data: Data, backbone: Backbone, out: Annotated[Path, typer.Option()] = STUDIES, cache: Cache = CACHE,
    layout: Layout = "auto", train_on: TrainOn = None, report_only: ReportOnly = None, epochs: Epochs = 25,
    batch_size: BatchSize = 32, seeds: Seeds = 1, limit: Limit = 0, train_limit: TrainLimit = 0, workers: Workers = 2,
    device: Device = "auto", threads: Threads = 0, quiet: Quiet = False,
    balanced: Annotated[bool, typer.Option("--balanced", help="Run the format-balanced protocol too.")] = False,
) -> None:
    """Compare the detector with f_global alone, s1..s3 alone, a spectrum probe and a JPEG probe."""
    common = _common(data, backbone, cache, out, layout, (train_on, report_only), (epochs, batch_size, seeds),
                     (limit, train_limit), (workers, device, threads, quiet))
    from ..studies.budget import Budget
    from .study_steps import run_some

    typer.echo(run_some(common, ["controls", "balanced"] if balanced else ["controls"], Budget(), out))


def robustness(
    data: Data, backbone: Backbone, out: Annotated[Path, typer.Option()] = STUDIES, cache: Cache = CACHE,
    layout: Layout = "auto", train_on: TrainOn = None, report_only: ReportOnly = None, epochs: Epochs = 25,
    batch_size: BatchSize = 32, limit: Limit = 0, train_limit: TrainLimit = 0, workers: Workers = 2,
    device: Device = "auto", threads: Threads = 0, quiet: Quiet = False,
) -> None:
    """Test under JPEG, noise, blur, downscaling and grayscale at native size [Table 3, Fig. 6]."""
    common = _common(data, backbone, cache, out, layout, (train_on, report_only), (epochs, batch_size, 1),
                     (limit, train_limit), (workers, device, threads, quiet))
    from ..studies.budget import Budget
    from .study_steps import run_some

    typer.echo(run_some(common, ["robustness"], Budget(), out))


def ablate(
    data: Data, backbone: Backbone, out: Annotated[Path, typer.Option()] = STUDIES, cache: Cache = CACHE,
    parts: AblationParts = "cached",
    layout: Layout = "auto", train_on: TrainOn = None, report_only: ReportOnly = None, epochs: Epochs = 25,
    batch_size: BatchSize = 32, seeds: Seeds = 1, limit: Limit = 0, train_limit: TrainLimit = 0,
    freezing_epochs: FreezingEpochs = None, freezing_backbone: FreezingBackbones = None,
    other_backbone: OtherBackbones = None, workers: Workers = 2, device: Device = "auto", threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Run the paper's ablations [Tables 4-7, Fig. 10]; `cached` are those that need the cached features alone."""
    from ..studies.choices import choose_studies

    names, others = choose_studies("ablation", parts), (*(other_backbone or ()), *(freezing_backbone or ()))
    common = _common(data, backbone, cache, out, layout, (train_on, report_only), (epochs, batch_size, seeds),
                     (limit, train_limit), (workers, device, threads, quiet), others)
    from ..studies.budget import Budget
    from .study_steps import run_some

    budget = Budget(
        freezing_epochs=freezing_epochs, other_backbone=tuple(other_backbone or ()),
        freezing_backbone=tuple(freezing_backbone or ()),
    )
    typer.echo(run_some(common, names, budget, out))


def analyze(
    data: Data, backbone: Backbone, out: Annotated[Path, typer.Option()] = STUDIES, cache: Cache = CACHE,
    parts: Annotated[str, typer.Option(help="nll, curve, spearman, heatmaps; comma list or all.")] = "all",
    layout: Layout = "auto", train_on: TrainOn = None, report_only: ReportOnly = None, epochs: Epochs = 25,
    batch_size: BatchSize = 32, limit: Limit = 0, train_limit: TrainLimit = 0, curve_steps: CurveSteps = 1000,
    fresh_decoder: FreshDecoder = True,
    workers: Workers = 2, device: Device = "auto", threads: Threads = 0, quiet: Quiet = False,
) -> None:
    """Analyse reconstruction error, its curve in decoder training, correlations and heatmaps [Fig. 2-4, 7-9]."""
    from ..studies.choices import choose_studies

    names = choose_studies("analysis", parts)
    common = _common(data, backbone, cache, out, layout, (train_on, report_only), (epochs, batch_size, 1),
                     (limit, train_limit), (workers, device, threads, quiet))
    from ..studies.budget import Budget
    from .study_steps import run_some

    typer.echo(run_some(common, names, Budget(curve_steps=curve_steps, fresh_decoder=fresh_decoder), out))


def paper(
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder of all results; report.html and report.md at the end.")],
    backbone: Backbone = LARGE,
    cache: Annotated[Path | None, typer.Option("--cache", help="Root of the cache; default: OUT/cache.")] = None,
    layout: Layout = "auto",
    train_on: TrainOn = None,
    report_only: ReportOnly = None,
    epochs: Epochs = 25,
    batch_size: BatchSize = 32,
    seeds: Seeds = 3,
    limit: Limit = 1000,
    train_limit: TrainLimit = 5000,
    audit_limit: Annotated[
        int, typer.Option(min=0, help="Files of each class, generator and split that the audit reads.")
    ] = 500,
    freezing_epochs: FreezingEpochs = None,
    freezing_backbone: FreezingBackbones = None,
    curve_steps: CurveSteps = 1000,
    fresh_decoder: FreshDecoder = True,
    other_backbone: OtherBackbones = None,
    workers: Workers = 2,
    device: Device = "auto",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Run the paper's whole protocol into one report. A command that was stopped continues where it was."""
    root, others = cache or out / "cache", (*(other_backbone or ()), *(freezing_backbone or ()))
    common = _common(data, backbone, root, out, layout, (train_on, report_only), (epochs, batch_size, seeds),
                     (limit, train_limit), (workers, device, threads, quiet), others)
    from ..studies.budget import Budget
    from .study_steps import run_paper

    budget = Budget(
        freezing_epochs=freezing_epochs, curve_steps=curve_steps, fresh_decoder=fresh_decoder, audit_limit=audit_limit,
        other_backbone=tuple(other_backbone or ()), freezing_backbone=tuple(freezing_backbone or ()),
    )
    typer.echo(run_paper(common, budget, out))


COMMANDS = (audit, controls, robustness, ablate, analyze, paper)
