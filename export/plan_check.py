"""A finished plan against eager PyTorch, on the GPU that will run it, before anything may use the plan.

TensorRT has built fp16 vision transformers that are silently wrong (issues 4837, 4723), and a context that serves
several batch sizes can mix them up: so every batch size is compared, twice, each time after another one.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runtime.core.errors import ParityError
from ..runtime.core.files import write_bytes
from ..runtime.core.manifest import Manifest
from ..runtime.engines.base import Engine, EngineOutput
from ..runtime.engines.cuda.buckets import buckets
from ..runtime.engines.load import load_engine
from .parity import BATCHES, TOLERANCES, differences, parity_images, within


@dataclass(frozen=True)
class Reference:
    """Images and their outputs by eager float32 PyTorch.

    Attributes:
        images: uint8 [n, S, S, 3].
        output: for these images.
    """

    images: np.ndarray
    output: EngineOutput


def reference_path(engine: Path) -> Path:
    """`NAME.onnx` -> `NAME.reference.npz`."""
    return engine.with_name(f"{engine.stem}.reference.npz")


def write_reference(engine: Path, content_sha256: str, reference: Reference) -> None:
    """Store `reference` beside the ONNX engine it belongs to, for plans built where there is no PyTorch."""
    output, buffer = reference.output, io.BytesIO()
    np.savez_compressed(
        buffer, engine=content_sha256, images=reference.images, logit=output.logit, stats=output.stats, lcas=output.lcas
    )
    write_bytes(reference_path(engine), buffer.getvalue())


def find_reference(engine: Path, manifest: Manifest) -> Reference:
    """The reference stored beside `engine`, whose manifest is given, else what onnxruntime's CPU computes from it.

    Raises:
        MissingDependencyError: there is no such file, and onnxruntime is not installed.
    """
    try:
        with np.load(reference_path(engine)) as stored:
            if str(stored["engine"]) == manifest.content_sha256:
                return Reference(stored["images"], EngineOutput(stored["logit"], stored["stats"], stored["lcas"]))
    except (OSError, ValueError, KeyError):
        pass  # missing or damaged: compute it
    images = parity_images(max(BATCHES), manifest.preprocess.crop)
    with load_engine(engine, device="cpu") as opened:
        return Reference(images, opened.infer(images))


def batch_order(smallest: int, largest: int) -> list[int]:
    """Batch sizes to run: the buckets in ascending order, then large and small ones in turn."""
    sizes = buckets(smallest, largest)
    turns = [size for pair in zip(reversed(sizes), sizes, strict=True) for size in pair]
    return [*sizes, *turns]


def check_outputs(plan: Engine, reference: Reference, batch: tuple[int, int, int]) -> None:
    """Compare logit, statistics and LCAS of an opened plan with the reference at every batch size.

    Args:
        plan: the opened plan.
        reference: see `Reference`.
        batch: smallest, best and largest batch of the plan's profile.

    Raises:
        ParityError: a difference is beyond the tolerance of the plan's precision.
    """
    precision = plan.manifest.precision
    for size in batch_order(batch[0], batch[2]):
        rows = (np.arange(size) + size) % len(reference.images)  # other images at each place for each size
        expected = EngineOutput(*(x[rows] for x in vars(reference.output).values()))
        off = logit, stats, lcas = differences(plan.infer(reference.images[rows]), expected, precision)
        if not within(off, precision):
            tolerance = TOLERANCES[precision]
            raise ParityError(
                f"{plan.path.name}: at batch {size} the plan differs from the reference by {logit:.1e} (logit), "
                f"{stats:.1e} (statistics), {lcas:.1e} (LCAS), allowed are {tolerance.logit:g} and {tolerance.lcas:g} "
                f"for {precision}; it was not written: try another TensorRT version, or export without --{precision}"
            )
