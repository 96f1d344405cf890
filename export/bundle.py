"""Make the bundled demonstration engine: `python -m cinemae.export.bundle CHECKPOINT models/cinemae-demo.onnx`.

The only writer of that file. Weights are stored as in `graph.compact`; the manifest says that it is a demonstration.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from ..runtime.core.errors import CinemaeError, UsageError
from ..train.fitting.checkpoint import load_checkpoint
from .fused import fused_graph, write_fused
from .graph.compact import compact
from .parity import BATCHES, eager_output, format_table, parity_images, parity_table, require

LARGEST = 24 * 2**20
"""Limit of the bundled engine's size in bytes."""


def bundle(checkpoint: Path, target: Path) -> str:
    """Export `checkpoint` to `target` (its folder must exist) and return the parity table.

    Raises:
        UsageError: the file would be larger than the package may carry.
        ParityError: it disagrees with eager PyTorch.
    """
    loaded = load_checkpoint(checkpoint)
    model = fused_graph(loaded.detector)
    compact(model)
    licence = loaded.manifest.backbone.licence  # the weights' own; that of the code is another
    manifest = loaded.manifest.model_copy(update={"name": "cinemae-demo", "demonstration": True, "licence": licence})
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        engine = Path(folder) / "bundle.onnx"
        write_fused(model, manifest, engine, "fp32")
        if engine.stat().st_size > LARGEST:
            raise UsageError(f"{engine.stat().st_size:,} bytes: the bundled engine may hold {LARGEST:,}")
        images = parity_images(max(BATCHES), manifest.preprocess.crop)
        rows = parity_table({"bundled": (engine, "fp32")}, images, eager_output(loaded.detector, images))
        require(rows)
        engine.replace(target)
    return format_table(rows)


def main() -> None:
    """Entry point: CHECKPOINT TARGET."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m cinemae.export.bundle CHECKPOINT models/cinemae-demo.onnx")
    try:
        print(bundle(Path(sys.argv[1]), Path(sys.argv[2])))
    except CinemaeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
