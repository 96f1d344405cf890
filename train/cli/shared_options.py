"""Options that several commands of `cinemae-train` have; this imports nothing heavy, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..data.layouts import LAYOUT_NAMES

Data = Annotated[
    list[Path], typer.Argument(help="Labelled data: GenImage, ForenSynths, ... folders, or CSV/JSONL lists.")
]
Layout = Annotated[str, typer.Option(help=f"Layout of DATA: {', '.join(LAYOUT_NAMES)}; auto finds out by itself.")]
Cache = Annotated[Path, typer.Option("--cache", help="Root of the feature cache.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[int, typer.Option(help="Threads of computation; 0: all cores.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Generators = Annotated[
    list[str] | None, typer.Option("--generator", "-g", help="Only this generator; repeat for several.")
]
Weights = Annotated[
    str | None, typer.Option("--backbone", help="The backbone, where it is no longer at its recorded place.")
]
Precision = Annotated[
    str, typer.Option(help="auto, fp32, tf32, bf16 or fp16; auto: the fastest that moves no logit by more than 0.02.")
]
FalseAlarm = Annotated[
    float, typer.Option(help="The verdict `ai` is for logits that at most this share of real images reaches.")
]
Miss = Annotated[
    float, typer.Option(help="The verdict `real` is for logits below which at most this share of AI images lies.")
]
CheckpointArg = Annotated[Path | None, typer.Argument(help="Checkpoint folder; default: the one fitted last.")]

CACHE = Path("runs/cache")
