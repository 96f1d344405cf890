"""Parity table: every exported file against eager PyTorch on the same images, with named tolerances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..runtime.core.errors import ParityError
from ..runtime.core.golden import golden_image
from ..runtime.engines.base import EngineOutput
from ..runtime.engines.load import load_engine

if TYPE_CHECKING:
    from ..train.model.detector import CinemaeDetector

BATCHES = (1, 2, 7)
"""One, an even and an odd number: kernels work on blocks of 2, 4 or 8 rows and treat the remainder separately."""

FLOOR = 1.0
"""Errors are relative above this magnitude and absolute below. Rounding errors of the head's sum grow with the logit.
LCAS is a difference of terms of order one (log sigma is negative) and crosses zero, so near zero its error comes from
the terms; the statistics are differences of LCAS values: their error is relative to the image's largest |LCAS|."""


@dataclass(frozen=True)
class Tolerance:
    """Largest differences allowed.

    Attributes:
        logit: of the logit, relative above `FLOOR`.
        lcas: of LCAS and the statistics, relative above `FLOOR`.
        batch: of the logit of an image in a batch against the same image alone, likewise.
    """

    logit: float
    lcas: float
    batch: float


TOLERANCES = {
    "fp32": Tolerance(logit=1e-3, lcas=1e-3, batch=1e-4),
    "fp16": Tolerance(logit=2e-2, lcas=1e-2, batch=2e-2),
    "bf16": Tolerance(logit=0.15, lcas=0.15, batch=5e-2),
    "int8": Tolerance(logit=0.1, lcas=1e-1, batch=5e-2),
}
"""fp32: the same sums in another order; measured about 1e-5, and verdict bands are 100 times wider.
fp16: 11 bits of mantissa through some 30 layers. bf16: 8 bits; the logit of a small trained model moved by 0.045 at
most on photographs, and on flat images, where sigma is at its floor, by 0.12 of itself and LCAS by 0.09. int8: over ten
times the drift a recipe may have (`recipe.MAX_DRIFT`), since images may differ from those that set the ranges; the
report on real images decides. Of these, LCAS is relative to the image's largest: in flat images sigma is near zero and
single patches differ a hundredfold. `batch` is not 0 because a last-bit difference between kernels can change a
rounding."""


@dataclass(frozen=True)
class Row:
    """One comparison; differences are maxima over images (and patches).

    Attributes:
        candidate: name of the exported file's row.
        precision: of the file.
        batch: batch size.
        logit: difference of the logit, see `FLOOR`.
        stats: relative difference of the statistics, see `FLOOR`.
        lcas: relative difference of LCAS.
        singles: difference of the logit from that of the same image alone, likewise.
    """

    candidate: str
    precision: str
    batch: int
    logit: float
    stats: float
    lcas: float
    singles: float

    @property
    def passed(self) -> bool:
        """Whether all are within the tolerance."""
        return self.singles <= TOLERANCES[self.precision].batch and within(
            (self.logit, self.stats, self.lcas), self.precision
        )


def parity_images(count: int, size: int) -> np.ndarray:
    """Synthetic test images of several kinds: uint8 [count, size, size, 3], the same bytes everywhere."""
    base = golden_image(size)
    rng = np.random.default_rng(0)
    makers = (
        lambda i: np.roll(base, 17 * i, axis=1),
        lambda i: base[::-1, :, ::-1],
        lambda i: rng.integers(0, 256, base.shape, dtype=np.uint8),
        lambda i: np.full_like(base, 20 * i),
        lambda i: base // 2 + 64,
        lambda i: rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1),
        lambda i: np.where(base > 127, 255, 0).astype(np.uint8),
    )
    return np.ascontiguousarray(np.stack([makers[i % len(makers)](i) for i in range(count)]))


def eager_output(detector: CinemaeDetector, images: np.ndarray, batch: int = 1) -> EngineOutput:
    """The reference: the training model in float32, uint8 [n, S, S, 3] in batches of `batch`."""
    import torch  # not at the top: plans are checked where only the runtime is installed

    with torch.no_grad():
        parts = [detector(torch.from_numpy(images[i : i + batch])) for i in range(0, len(images), batch)]
    return EngineOutput(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))


def relative(found: np.ndarray, expected: np.ndarray, scale: np.ndarray | None = None) -> float:
    """Largest |found - expected| / max(scale, FLOOR), scale being |expected| if None; infinite if NaNs differ."""
    if not np.array_equal(np.isnan(found), np.isnan(expected)):
        return float("inf")
    error = np.abs(found - expected) / np.maximum(np.abs(expected) if scale is None else scale, FLOOR)
    return float(np.nanmax(error, initial=0.0))


def differences(found: EngineOutput, expected: EngineOutput, precision: str) -> tuple[float, float, float]:
    """Largest differences of logit, statistics and LCAS, measured as the `Tolerance` of `precision` is."""
    logit = relative(found.logit, expected.logit)
    largest = np.nanmax(np.abs(expected.lcas), axis=1, keepdims=True)
    stats = relative(found.stats, expected.stats, largest)
    return logit, stats, relative(found.lcas, expected.lcas, None if precision == "fp32" else largest)


def within(found: tuple[float, float, float], precision: str) -> bool:
    """Whether `differences` are within the tolerance of `precision`."""
    logit, stats, lcas = found
    return logit <= TOLERANCES[precision].logit and max(stats, lcas) <= TOLERANCES[precision].lcas


def compare(candidate: str, path: Path, images: np.ndarray, expected: EngineOutput, precision: str) -> list[Row]:
    """Run the engine at `path` (a file or a parts folder) on the CPU at every batch size of `BATCHES`."""
    rows = []
    with load_engine(path, device="cpu") as engine:
        singles = np.concatenate([engine.infer(images[i : i + 1]).logit for i in range(max(BATCHES))])
        for batch in BATCHES:
            found = engine.infer(images[:batch])
            first = EngineOutput(expected.logit[:batch], expected.stats[:batch], expected.lcas[:batch])
            off = differences(found, first, precision)
            rows.append(Row(candidate, precision, batch, *off, relative(found.logit, singles[:batch])))
    return rows


def parity_table(candidates: Mapping[str, tuple[Path, str]], images: np.ndarray, expected: EngineOutput) -> list[Row]:
    """Compare every candidate, name -> (path, precision), with what the eager model gives for `images`."""
    found = (compare(name, path, images, expected, precision) for name, (path, precision) in candidates.items())
    return [row for rows in found for row in rows]


def format_table(rows: list[Row]) -> str:
    """The table as text, with the tolerance of each precision below it."""
    lines = [f"{'against eager fp32':<20} {'batch':>5} {'logit':>9} {'stats':>9} {'lcas':>9} {'singles':>9}"]
    lines += [
        f"{r.candidate:<20} {r.batch:>5} {r.logit:>9.1e} {r.stats:>9.1e} {r.lcas:>9.1e} {r.singles:>9.1e}  "
        + ("ok" if r.passed else "FAILED")
        for r in rows
    ]
    for precision in dict.fromkeys(row.precision for row in rows):
        t = TOLERANCES[precision]
        limits = f"logit {t.logit:g}, stats and lcas {t.lcas:g}, singles {t.batch:g}; relative above 1"
        lines.append(f"tolerances {precision}: {limits}")
    return "\n".join(lines)


def require(rows: list[Row]) -> None:
    """Raise ParityError if any comparison is beyond its tolerance."""
    failed = sorted({f"{row.candidate} at batch {row.batch}" for row in rows if not row.passed})
    if failed:
        raise ParityError(f"beyond tolerance: {', '.join(failed)}; the files were written, but do not use them")
