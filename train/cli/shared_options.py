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

CACHE = Path("runs/cache")
