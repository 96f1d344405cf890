"""`cinemae-train pretrain`: a small backbone from photographs."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...runtime.cli.expand import expanded
from ...runtime.core.errors import UsageError
from ...runtime.core.option import Option
from ..compute import prepare_process
from ..pretraining.pretrain_config import PretrainConfig
from .shared import Process, check_backbone, check_folder


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """The photographs, the model and its place.

    Attributes:
        data: folders of photographs, searched recursively; no labels needed.
        out: folder for backbone.safetensors and the state to resume from.
        backbone: shape of the model.
        init: weights to start from; their shape replaces --backbone.
    """

    data: Annotated[tuple[Path, ...], Option(argument=True, metavar="DATA")]
    out: Path
    backbone: str = "vit_tiny_patch16"
    init: str | None = None


@expanded
def pretrain_command(options: PretrainOptions, config: PretrainConfig, process: Process) -> None:
    """Pretrain a masked autoencoder on photographs, without labels.

    The same command resumes a stopped run.
    """
    from ..model.presets import preset

    for folder in options.data:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; give a folder that holds photographs")
    check_folder("--out", options.out)
    shape = preset(options.backbone)
    if options.init:
        check_backbone(options.init)
    prepare_process(process.threads)
    from ..pretraining.pretrain import pretrain
    from ..weights.load import load_backbone

    loaded = load_backbone(options.init) if options.init else None
    written = pretrain(options.data, options.out, loaded.info.config if loaded else shape, config,
                       loaded, quiet=process.quiet)
    typer.echo(f"{written}\nnext: cinemae train extract DATA --backbone {shlex.quote(str(options.out))}")
