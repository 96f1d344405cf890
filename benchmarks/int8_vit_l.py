"""INT8 drift of ViT-L on real images, with weights as they are drawn and with outlier channels put in.

    python benchmarks/int8_vit_l.py BENCH [--images 16]

Weights are seeded random values. Large trained models have a few channels far larger than the rest; random ones have
none, so some are put in, in every fourth block: in the residual stream (a bias of the second MLP layer), behind
LayerNorms (gains) and in hidden layers (a bias of the first MLP layer). Ranges come from training images, the
differences to eager PyTorch from others.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from cinemae.export.fused import packed_graph, write_fused
from cinemae.export.graph.packed import PackedDetector
from cinemae.export.int8.recipe import choose_recipe
from cinemae.export.int8.rewrite import quantise_for_cpu
from cinemae.export.parity import eager_output, relative
from cinemae.export.quality import labelled, load_batches, spread
from cinemae.runtime.engines.load import load_engine
from cinemae.train.model.detector import CinemaeDetector
from vit_l import detector

CHANNELS = 4
"""Outlier channels in each place."""

RESIDUAL, GAIN, HIDDEN = 100.0, 20.0, 20.0


def add_outliers(model: CinemaeDetector) -> None:
    """Put outlier channels into every fourth block of encoder and decoder."""
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for block in [*model.mae.blocks[::4], *model.mae.decoder_blocks[::4]]:
            width = block.norm1.weight.shape[0]
            block.mlp.fc2.bias[rng.choice(width, CHANNELS)] += RESIDUAL
            block.norm1.weight[rng.choice(width, CHANNELS)] *= GAIN
            block.norm2.weight[rng.choice(width, CHANNELS)] *= GAIN
            block.mlp.fc1.bias[rng.choice(4 * width, CHANNELS)] += HIDDEN


def row(name: str, outliers: bool, calibration: list[np.ndarray], images: np.ndarray) -> str:
    """One line of the table."""
    model, manifest = detector("vit_large_patch16")
    if outliers:
        add_outliers(model)
    expected = eager_output(model, images)
    packed = PackedDetector(model)
    recipe = choose_recipe(packed, calibration)
    graph = packed_graph(packed)
    quantise_for_cpu(graph, packed, recipe)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        write_fused(graph, manifest, path, "int8")
        del graph, packed
        engine = load_engine(path, device="cpu")
        found = engine.infer(images)
        alone = np.concatenate([engine.infer(image[None]).logit for image in images])
        engine.close()
    kinds = Counter(item.kind for item in recipe.values())
    drift = np.abs(found.logit - expected.logit)
    lcas = relative(found.lcas, expected.lcas, np.nanmax(np.abs(expected.lcas), axis=1, keepdims=True))
    peak = max(item.peak for item in recipe.values())
    return (
        f"| {name} | {kinds['static']} / {kinds['row']} / {kinds['fp32']} | {peak:.0f} | {expected.logit.std():.3f} "
        f"| {drift.mean():.4f} | {drift.max():.4f} | {lcas:.2%} | {np.abs(found.logit - alone).max():.0e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=16, help="for calibration, and as many others to compare")
    arguments = parser.parse_args()
    samples = labelled(arguments.data, None)
    _, manifest = detector("vit_tiny_patch16")
    pixels = {
        split: [batch for _, batch in load_batches(spread(chosen, arguments.images), manifest.preprocess)]
        for split, chosen in (
            ("train", [sample for sample in samples if sample.split == "train"]),
            ("other", [sample for sample in samples if sample.split != "train"]),
        )
    }
    images = np.concatenate(pixels["other"])
    print("| ViT-L weights | static / per token / fp32 | largest input | std of logits | mean logit drift | largest | "
          "largest LCAS drift | batch against singles |")
    print("|---|---|---|---|---|---|---|---|")
    for name, outliers in (("random", False), ("random with outlier channels", True)):
        print(row(name, outliers, pixels["train"], images), flush=True)


if __name__ == "__main__":
    main()
