"""What a global encoder costs on the CPU beside the MAE-only engine: python benchmarks/global_encoder.py WORK

Seeded weights, ViT-B of both. The engines take turns on the same images.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from vit_l import THREADS, cpu_session, detector

BACKBONE = "vit_base_patch16"
ENCODERS = ("vit_base_patch16_224", "vit_base_patch16_dinov3")
"""A plain ViT-B at 224 px (197 tokens), and DINOv3's at 256 px (261 tokens, rotary positions, registers)."""
ROUNDS, BATCH = 7, 2


def make(work: Path) -> None:
    """Write the graphs that are missing."""
    import onnx
    import timm
    import torch
    from cinemae.export.fused import fused_graph
    from cinemae.runtime.core.manifest import GlobalEncoder
    from cinemae.train.model.detector import CinemaeDetector
    from cinemae.train.model.global_encoder import TimmEncoder
    from cinemae.train.model.head import Head

    work.mkdir(parents=True, exist_ok=True)
    one, _ = detector(BACKBONE)
    for name in (BACKBONE, *ENCODERS):
        if (work / f"{name}.onnx").exists():
            continue
        found = one
        if name in ENCODERS:
            torch.manual_seed(0)
            model = timm.create_model(name, pretrained=False, num_classes=0)
            data = timm.data.resolve_model_data_config(model)
            info = GlobalEncoder(source=name, name=name, sha256="0" * 64, licence="unknown", dim=model.num_features,
                                 size=data["input_size"][1], mean=data["mean"], std=data["std"])
            encoder = TimmEncoder(model, info, one.mae.config.image_size)
            head = Head(info.dim, one.head.config)
            found = CinemaeDetector(one.mae, head, one.visible.numpy(), one.method, encoder).eval()
        onnx.save(fused_graph(found), work / f"{name}.onnx")


def main() -> None:
    """Print seconds an image: the median over rounds, and the ratio to the MAE-only engine in the same round."""
    work = Path(sys.argv[1])
    make(work)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3), dtype=np.uint8)
    sessions = {name: cpu_session(work / f"{name}.onnx") for name in (BACKBONE, *ENCODERS)}
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(ROUNDS + 1):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(None, {"images": images})
            seconds[name].append((time.perf_counter() - started) / BATCH)
    kept = {name: values[1:] for name, values in seconds.items()}  # the first warms up
    ratios = {name: [b / a for a, b in zip(kept[BACKBONE], values, strict=True)] for name, values in kept.items()}
    for name, values in kept.items():
        ratio = ratios[name]
        print(json.dumps({
            "engine": name, "threads": THREADS, "batch": BATCH, "seconds_an_image": round(statistics.median(values), 4),
            "ratio": round(statistics.median(ratio), 3), "ratios": [round(min(ratio), 3), round(max(ratio), 3)],
        }))


if __name__ == "__main__":
    main()
