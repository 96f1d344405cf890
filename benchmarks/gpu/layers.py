"""Kernels of a ViT-L fp16 engine in the log of TensorRT-RTX's builder, with and without joined products; no GPU needed.

    pip install --no-deps tensorrt-rtx-cu13-bindings==1.7.1.116 onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0
    python benchmarks/gpu/layers.py --work DIR [--backbone vit_large_patch16]

Prints a table and one letter a kernel: A attention, G matrix product, N LayerNorm, c copy, - anything else.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import onnx
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "helpers"))
from builder_log import build_log, kernels
from cinemae.export.fused import packed_graph
from cinemae.export.graph.joined import join_products
from cinemae.export.graph.packed import PackedDetector
from tensorrt_fakes import real_rtx
from vit_l import detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the graphs, about 2 GB")
    parser.add_argument("--backbone", default="vit_large_patch16")
    arguments = parser.parse_args()
    rtx = real_rtx()
    if rtx is None:
        sys.exit("needs tensorrt-rtx-cu13-bindings and onnxruntime-ep-nv-tensorrt-rtx-cu13, see --help")
    arguments.work.mkdir(parents=True, exist_ok=True)
    path = arguments.work / f"{arguments.backbone}.onnx"
    found, _ = detector(arguments.backbone)
    packed = PackedDetector(found, torch.float16)
    del found
    print("| graph | kernels | attention | matrix products | LayerNorm | copies | other |")
    print("|---|---|---|---|---|---|---|")
    letters = {}
    for name in ("three products", "joined"):
        model = packed_graph(packed)
        if name == "joined":
            join_products(model)
        onnx.save(model, path)
        del model
        letters[name] = kernels(build_log(rtx, path, (1, 8, 128)))
        counts = " | ".join(str(letters[name].count(letter)) for letter in "AGNc-")
        print(f"| {name} | {len(letters[name])} | {counts} |", flush=True)
    for name, found_letters in letters.items():
        print(f"\n{name}: `{found_letters}`")


if __name__ == "__main__":
    main()
