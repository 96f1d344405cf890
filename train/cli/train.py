"""The command `cinemae-train`: from photographs and labelled images to a calibrated, evaluated checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ...runtime.cli.common import command_app, print_version, run_command
from ...runtime.core.environment import pip_install
from ...runtime.core.errors import ExitCode
from ...runtime.ray.address import with_address
from .pretrain_command import pretrain
from .shared_options import (
    CACHE,
    Cache,
    CheckpointArg,
    Data,
    Device,
    FalseAlarm,
    Generators,
    Layout,
    Miss,
    Precision,
    Quiet,
    Threads,
    Weights,
)
from .studies import register

app = command_app("Train, calibrate and study CINEMAE detectors.", no_args_is_help=True)

TRAIN_PACKAGES = ("torch", "torchvision", "timm", "safetensors", "sklearn", "scipy", "matplotlib", "huggingface_hub")


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, calibrate and study CINEMAE detectors."""


app.command(short_help="Pretrain a masked autoencoder on photographs, without labels.")(pretrain)


@app.command(short_help="Compute the features of labelled images, once.")
def extract(
    data: Data,
    backbone: Annotated[str, typer.Option(help="Weights with encoder and decoder: file, folder or Hugging Face id.")],
    cache: Cache = CACHE,
    layout: Layout = "auto",
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    generator: Generators = None,
    k: Annotated[int, typer.Option("--k", min=1, max=64, help="Masked passes of a set.")] = 2,
    mask_sets: Annotated[int, typer.Option(min=1, help="Mask sets R to draw from; the first is deployed.")] = 4,
    mask_strategy: Annotated[str, typer.Option(help="balanced or independent.")] = "balanced",
    mask_seed: Annotated[int, typer.Option(min=0)] = 0,
    augment: Annotated[str, typer.Option(help="none, robust (JPEG, rescaling) or balanced.")] = "none",
    views: Annotated[int, typer.Option(min=1, help="Augmented views of an image.")] = 1,
    augment_seed: Annotated[int, typer.Option(min=0)] = 0,
    decode: Annotated[
        str, typer.Option(help="full, or scaled: large JPEGs are shrunk while they are decoded. Engines keep to it.")
    ] = "full",
    f_global: Annotated[
        str, typer.Option(help="Feature of the whole image: cls, as in the paper, or mean, of the patch tokens.")
    ] = "cls",
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode images.")] = 2,
    shard: Annotated[
        str | None, typer.Option(help="i/n: this process takes the i-th of n parts. torchrun sets it.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="[ADDRESS]", help="Extract on a Ray cluster that sees DATA and CACHE at the same paths."),
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Compute the features of labelled images once. The same command resumes a stopped run and adds new images."""
    from . import option_checks as checks
    from . import option_groups as options

    spec_options = options.SpecOptions(
        k, mask_sets, mask_strategy, mask_seed, augment, views, augment_seed, decode, f_global
    )
    machine = options.MachineOptions(batch_size, workers, device, quiet, precision)
    part = checks.chosen_shard(shard, ray)
    checks.check_folder("--cache", cache)
    samples = options.DataOptions(data, layout, split, generator).read()
    checks.check_backbone(backbone)
    if ray is not None:
        from ...runtime.ray.supervised import supervise

        supervise("the same command continues it")  # before torch: a fork takes no threads along
    from ..device import prepare_process
    from . import train_steps as commands

    prepare_process(threads)
    report = commands.run_extract(samples, backbone, cache, spec_options, machine, part, ray, threads)
    typer.echo(commands.describe_extract(report, data, cache))


@app.command(short_help="Fit and calibrate the head on cached features.")
def fit(
    cache: Annotated[Path, typer.Option("--cache", help="Cache root, or one cache folder.")] = CACHE,
    out: Annotated[Path, typer.Option(help="Checkpoint folder.")] = Path("runs/checkpoint"),
    key: Annotated[
        str | None, typer.Option(help="First characters of the cache's key, where there are several caches.")
    ] = None,
    augment: Annotated[str | None, typer.Option(help="Use the cache with this augmentation.")] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Recorded list of samples; default: that of the last extraction into the cache.")
    ] = None,
    generator: Annotated[
        list[str] | None, typer.Option("--generator", "-g", help="Train on this generator; repeatable.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to train on.")] = "train",
    epochs: Annotated[int, typer.Option(min=1)] = 25,
    batch_size: Annotated[
        int, typer.Option(min=1, help="32 is the paper's; 1024 fits 100,000 images in minutes.")
    ] = 32,
    lr: Annotated[float, typer.Option(min=0)] = 1e-4,
    weight_decay: Annotated[float, typer.Option(min=0, help="Decoupled weight decay (AdamW); 0 is the paper's.")] = 0.0,
    held_out: Annotated[
        float, typer.Option(min=0.001, max=0.9, help="Share of training images for selection and calibration.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    statistics: Annotated[str, typer.Option(help="Comma list of s1, s2, s3, or none.")] = "s1,s2,s3",
    fusion: Annotated[
        str, typer.Option(help="early_add, early_concat, early_gate, late_add, late_concat, late_gate.")
    ] = "early_add",
    standardize: Annotated[bool, typer.Option(help="Standardise the statistics.")] = True,
    k: Annotated[int | None, typer.Option("--k", min=1, help="Use the first K runs of each set.")] = None,
    lambda_: Annotated[float, typer.Option("--lambda", min=0, help="Weight of the fidelity term.")] = 0.1,
    pixel_space: Annotated[str, typer.Option(help="unit or imagenet.")] = "unit",
    stat_reduction: Annotated[str, typer.Option(help="mean or sum.")] = "mean",
    fidelity_reduction: Annotated[str, typer.Option(help="sum or mean.")] = "sum",
    false_alarm: FalseAlarm = 0.05,
    miss: Miss = 0.05,
    balance_sources: Annotated[
        bool, typer.Option("--balance-sources", help="Give both classes, and every source of a class, the same weight.")
    ] = False,
    standardize_global: Annotated[
        bool,
        typer.Option("--standardize-global", help="Start with f_global standardised feature by feature."),
    ] = False,
    name: Annotated[str, typer.Option(help="Name in the manifest.")] = "cinemae",
    demonstration: Annotated[bool, typer.Option("--demonstration", help="Mark as a demonstration.")] = False,
    embed_backbone: Annotated[
        bool, typer.Option("--embed-backbone", help="Store the backbone in the checkpoint.")
    ] = False,
    backbone: Weights = None,
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Fit and calibrate the head on cached features: seconds to minutes."""
    from ..calibration.rates import Rates
    from ..fitting.checkpoint_folder import refuse_foreign
    from . import option_checks as checks
    from . import option_groups as options

    method = options.MethodOptions(k, lambda_, pixel_space, stat_reduction, fidelity_reduction)
    head = options.head_config(statistics, fusion, standardize)
    rates = Rates(false_alarm=false_alarm, miss=miss)
    checks.check_folder("--out", out)
    refuse_foreign(out)
    checks.check_cache(cache, augment)
    if backbone:
        checks.check_backbone(backbone)
    from ..device import prepare_process
    from ..fitting.fit_config import FitConfig
    from . import train_steps as commands

    prepare_process(threads)
    generators = tuple(generator) if generator else None
    config = FitConfig(
        epochs=epochs, lr=lr, batch_size=batch_size, seed=seed, held_out=held_out, split=split, generators=generators,
        balance_sources=balance_sources, weight_decay=weight_decay, standardize_global=standardize_global, rates=rates,
    )
    folder = commands.run_fit(
        cache, key, augment, samples, out, method, head, config, name, demonstration, embed_backbone, backbone, quiet
    )
    typer.echo(commands.describe_fit(folder))


@app.command(short_help="Choose other rates of wrong verdicts for a checkpoint.")
def calibrate(checkpoint: CheckpointArg = None, false_alarm: FalseAlarm = 0.05, miss: Miss = 0.05) -> None:
    """Choose other rates of wrong verdicts; probability and thresholds follow from the scores that fitting kept."""
    from ..calibration.rates import Rates
    from ..fitting.checkpoint_folder import last_checkpoint, read_manifest

    rates = Rates(false_alarm=false_alarm, miss=miss)
    folder = checkpoint or last_checkpoint()
    read_manifest(folder)
    from . import train_steps as commands

    typer.echo(commands.run_calibrate(folder, rates))


@app.command("eval", short_help="Report a checkpoint's figures, generator by generator.")
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder; 'last': the one fitted last.")],
    data: Data,
    cache: Cache = CACHE,
    layout: Layout = "auto",
    split: Annotated[str | None, typer.Option(help="Default: every split but train.")] = None,
    generator: Generators = None,
    augment: Annotated[str, typer.Option(help="Change images before scoring: none, robust or balanced.")] = "none",
    out: Annotated[Path | None, typer.Option(help="Folder of tables and plots; default: CHECKPOINT/eval.")] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap resamples; 0: no intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    backbone: Weights = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Report accuracy, AUC, AP and calibration per generator, with intervals. Extracts what the cache lacks."""
    from ..fitting.checkpoint_folder import LAST, last_checkpoint, read_manifest
    from . import option_checks as checks
    from . import option_groups as options

    machine = options.MachineOptions(batch_size, workers, device, quiet, precision)
    checks.check_augment(augment)
    folder = last_checkpoint() if checkpoint == LAST and not checkpoint.exists() else checkpoint
    read_manifest(folder)
    checks.check_folder("--out", out or folder)
    checks.check_folder("--cache", cache)
    samples = options.DataOptions(data, layout, split, generator).read_to_score()
    if backbone:
        checks.check_backbone(backbone)
    from ..device import prepare_process
    from . import train_steps as commands

    prepare_process(threads)
    typer.echo(commands.run_eval(folder, samples, cache, machine, augment, out, resamples, seed, backbone))


register(app)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: user errors go to stderr without a traceback, a missing package with its pip line."""
    try:
        run_command(app, with_address(sys.argv[1:] if argv is None else argv), one_line=False)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAIN_PACKAGES:
            raise
        print(f"error: {error.name} is missing; install it with: {pip_install('train')}", file=sys.stderr)
        raise SystemExit(ExitCode.ENGINE_OR_ENVIRONMENT) from None


if __name__ == "__main__":
    main()
