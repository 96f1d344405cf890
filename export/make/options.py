"""The options of `cinemae make`. Imports nothing heavy, because `--help` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ...runtime.core.errors import UsageError
from ...runtime.core.option import Option
from ...train.cli.shared import CACHE, Subset


@dataclass(frozen=True, kw_only=True)
class MakeOptions(Subset):
    """From which data and weights an engine is made, and where.

    Attributes:
        backbone: weights with encoder and decoder: file, folder or Hugging Face id.
        global_encoder: another frozen encoder for f_global: NAME of timm, from the hub, or NAME:FILE.safetensors.
        fp16: half precision in the engine, for GPUs.
        licence: licence of the engine. Default: that of the weights.
        out: the engine; its card NAME.md, its page NAME.html and NAME/, all that led to it, lie beside it.
        cache: root of the feature cache, which other engines share.
        tiers: measure the rates on images as platforms deliver them, too: at most 768 px at JPEG 60, at most 512 px at
            JPEG 40. Extraction takes three times as long.
        split: every split is needed.

    Raises:
        UsageError: `out` is not the name of an engine.
    """

    backbone: str
    global_encoder: Annotated[str | None, Option(metavar="NAME[:FILE]")] = None
    fp16: bool = False
    licence: str | None = None
    out: Path = Path("models/cinemae.onnx")
    cache: Path = CACHE
    tiers: Annotated[bool, Option(names=("--tiers/--no-tiers",))] = True
    split: Annotated[str | None, Option(hidden=True)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out.suffix != ".onnx":
            raise UsageError(f"--out {self.out}: an engine's name ends in .onnx, as in {self.out.with_suffix('.onnx')}")

    @property
    def work(self) -> Path:
        """Folder of the audit, the checkpoint with its evaluation, and what is remembered of the steps."""
        return self.out.with_suffix("")

    @property
    def checkpoint(self) -> Path:
        """Folder of the checkpoint."""
        return self.work / "checkpoint"
