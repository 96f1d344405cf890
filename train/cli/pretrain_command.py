"""`cinemae-train pretrain`: parse and call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .shared_options import Threads


def pretrain(
    data: Annotated[list[Path], typer.Argument(help="Folders of photographs, searched recursively; no labels needed.")],
    out: Annotated[Path, typer.Option(help="Folder for backbone.safetensors and the state to resume from.")],
    backbone: Annotated[str, typer.Option(help="Shape of the model.")] = "vit_tiny_patch16",
    init: Annotated[str | None, typer.Option(help="Weights to start from; their shape replaces --backbone.")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 100,
    max_minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Stop after this many minutes, with the learning rate annealed to its end."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 128,
    micro_batch: Annotated[int, typer.Option(min=1, help="Slice of a batch computed at once.")] = 32,
    lr: Annotated[float, typer.Option(min=0, help="Peak learning rate.")] = 1.2e-3,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    half: Annotated[bool, typer.Option("--half", help="Round the saved weights to float16.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Threads = 0,
) -> None:
    """Pretrain a masked autoencoder without labels; the same command resumes a stopped run."""
    from ..model.presets import preset
    from . import option_checks as checks

    checks.check_photos(data)
    checks.check_folder("--out", out)
    checks.check_choice("--precision", precision, ("auto", "bf16", "fp32"))
    shape = preset(backbone)
    if init:
        checks.check_backbone(init)
    from ..compute import prepare_process
    from ..pretraining.pretrain import PretrainConfig
    from ..pretraining.pretrain import pretrain as run
    from ..weights.load import load_backbone

    prepare_process(threads)
    loaded = load_backbone(init) if init else None
    initial, licence = (loaded.mae.requires_grad_(True), loaded.info.licence) if loaded else (None, None)
    config = PretrainConfig(
        epochs=epochs, max_minutes=max_minutes, batch_size=batch_size, micro_batch=micro_batch, lr=lr,
        precision=precision, half=half, workers=workers, seed=seed,
    )
    typer.echo(run(data, out, initial.config if initial else shape, config, initial, licence))
    typer.echo(f"next: cinemae-train extract DATA --backbone {out}")
