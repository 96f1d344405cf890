"""Export a checkpoint as an ONNX engine, compare it with PyTorch, and score an image with it.

    python examples/export_and_compare.py [IMAGE]
"""

import sys
from pathlib import Path

from cinemae import Detector
from cinemae.export.fused import export_fused
from cinemae.export.parity import BATCHES, eager_output, format_table, parity_images, parity_table, require
from cinemae.train.fitting.checkpoint import load_checkpoint

CHECKPOINT, ENGINE = Path("runs/checkpoint"), Path("models/mine.onnx")
IMAGE = Path(sys.argv[1] if len(sys.argv) > 1 else "photo.jpg")

loaded = load_checkpoint(CHECKPOINT)
ENGINE.parent.mkdir(exist_ok=True)
manifest = export_fused(loaded.detector, loaded.manifest, ENGINE)
print(f"{ENGINE}: {ENGINE.stat().st_size / 2**20:.1f} MiB, content {manifest.content_sha256[:12]}")

images = parity_images(max(BATCHES), loaded.manifest.preprocess.crop)
rows = parity_table({"fused fp32": (ENGINE, "fp32")}, images, eager_output(loaded.detector, images))
print(format_table(rows))
require(rows)  # ParityError where a difference is beyond its tolerance

with Detector.load(ENGINE) as detector:
    print(detector.detect(IMAGE))
