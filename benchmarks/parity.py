"""Every exported form of a checkpoint against eager PyTorch, in one table.

    python benchmarks/parity.py CHECKPOINT --calibration DATA [--out benchmarks/parity.md]

The images are the calibration's first ones: INT8 ranges fit photographs, not test patterns.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from cinemae.export.checkpoint_export import export_int8
from cinemae.export.fused import export_fused
from cinemae.export.parity import BATCHES, eager_output, format_table, parity_table
from cinemae.export.parts import export_parts
from cinemae.export.quality import RANGE_IMAGES, labelled, load_batches, spread
from cinemae.train.fitting.checkpoint import load_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    loaded = load_checkpoint(arguments.checkpoint)
    training = [sample for sample in labelled(arguments.calibration, None) if sample.split == "train"]
    chosen = spread(training, RANGE_IMAGES)
    batches = [pixels for _, pixels in load_batches(chosen, loaded.manifest.preprocess)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        candidates = {}
        for precision in ("fp32", "fp16"):
            export_fused(loaded.detector, loaded.manifest, folder / f"{precision}.onnx", precision)
            candidates[f"fused {precision}"] = (folder / f"{precision}.onnx", precision)
        candidates["parts fp32"] = (export_parts(loaded.detector, loaded.manifest, folder / "parts"), "fp32")
        _, qdq = export_int8(loaded, folder / "int8.onnx", batches, qdq=True)
        assert qdq is not None
        candidates |= {"fused int8": (folder / "int8.onnx", "int8"), "int8 QDQ": (qdq, "int8")}
        images = np.concatenate(batches)[: max(BATCHES)]
        rows = parity_table(candidates, images, eager_output(loaded.detector, images))
    table = format_table(rows, {name: precision for name, (_, precision) in candidates.items()})
    print(table)
    if arguments.out:
        command = "python benchmarks/parity.py CHECKPOINT --calibration BENCH"
        lines = ["# Parity of the bundled model's exports", "", f"    {command}", ""]
        arguments.out.write_text("\n".join(lines + [f"    {line}" for line in table.splitlines()]) + "\n")


if __name__ == "__main__":
    main()
