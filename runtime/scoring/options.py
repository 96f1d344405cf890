"""`ScoringOptions`: how images are scored. Detector, scan, watch, Ray and server hold this object; commands fill it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

from ..core.environment import DEVICES, check_device
from ..core.errors import UsageError
from ..core.option import Option, share
from ..core.text import shown

DEFAULT_FRAMES = 4
MAX_FRAMES = 100
"""Frames of one file that are scored at most, also under `all`: their crops are in memory together (15 MB)."""
FIRST, ALL = "first", "all"


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Which engine is used, and where.

    Attributes:
        engine: an .onnx or .plan file, a folder of parts, or hf://org/repo/file.onnx. Default: the bundled engine.
        device: where the engine runs; only auto falls back to another device. openvino:GPU and openvino:NPU reach
            devices that nobody has tried.
        precision: bf16 computes a float32 engine in bfloat16, in OpenVINO. Default: the engine's own.

    Raises:
        UsageError: a value that is not allowed.
    """

    engine: Annotated[str | Path | None, Option(metavar="PATH")] = None
    device: Annotated[str, Option(metavar=f"[{'|'.join(DEVICES)}]")] = "auto"
    precision: Annotated[str | None, Option(metavar="[bf16]")] = None

    def __post_init__(self) -> None:
        if self.engine is not None and not str(self.engine):
            raise UsageError("--engine is empty: name an engine, or leave it out for the bundled one")
        check_device(self.device)
        if self.precision not in (None, "bf16"):
            raise UsageError(f"unknown precision {self.precision!r}: use bf16, or leave it out for the engine's own")


@dataclass(frozen=True, kw_only=True)
class ScoringOptions(EngineOptions):
    """How images are scored.

    Attributes:
        threads: CPU threads of one inference. Default: a container's limit of CPUs, else the backend chooses.
        threshold: probability in (0, 1), at equal priors, from which an image is ai; replaces the engine's two
            thresholds.
        prior: share of AI images among those scored, in (0, 1); shifts the probability, no verdict.
        decode: how large images are decoded; scaled is faster above 1022 pixels and changes scores a little. Default:
            as the engine was fitted.
        frames: frames of an animation or video that are scored, spread over it; the most suspicious one counts.
        tiles: score overlapping squares of the whole image: an indication, because no error rate is known for it.
        max_pixels: images with more pixels are refused. Default: 178,000,000.
        trust_list: certificates (PEM) of trusted signers of Content Credentials, such as C2PA's trust list; may be
            given more than once.
        positions: give the place where a photograph was taken, beside its camera's raw values; else only that there is
            one.

    Raises:
        UsageError: a value that is not allowed.
    """

    threads: int | None = None
    threshold: Annotated[float | None, Option(metavar="P", parser=share("--threshold"))] = None
    prior: Annotated[float, Option(metavar="SHARE", parser=share("--prior"))] = 0.5
    decode: Annotated[str | None, Option(metavar="[full|scaled]")] = None
    frames: Annotated[int | str, Option(metavar="[first|all|N]")] = DEFAULT_FRAMES
    tiles: bool = False
    max_pixels: int | None = None
    trust_list: Annotated[tuple[str, ...], Option(metavar="FILE")] = ()
    positions: bool = False

    def __post_init__(self) -> None:
        from ..core.manifest import Decode

        super().__post_init__()
        for name in ("threads", "max_pixels"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")
        for name in ("threshold", "prior"):
            if (value := getattr(self, name)) is not None and not 0 < value < 1:
                raise UsageError(f"a {name} is a number between 0 and 1 (both excluded), got {value}")
        if self.decode not in (None, *get_args(Decode)):
            raise UsageError(f"unknown way to decode {self.decode!r}: use full or scaled")
        if self.trust_list:
            from ..evidence.c2pa_reports import check_trust_list

            for path in self.trust_list:
                check_trust_list(path)
        if not 1 <= self.max_frames <= MAX_FRAMES:
            raise UsageError(f"frames are first, all or a number from 1 to {MAX_FRAMES}, got {shown(str(self.frames))}")

    @property
    def max_frames(self) -> int:
        """The number of frames that `frames` asks for; 0 for text that is none of its values."""
        text = str(self.frames)
        return {FIRST: 1, ALL: MAX_FRAMES}.get(text, int(text) if text.isascii() and text.isdigit() else 0)
