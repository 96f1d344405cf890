"""ViT-L on an NVIDIA GPU: eager fp16, torch.compile, onnxruntime, TensorRT, batch 1 to 128, against the matmul peak.

    python benchmarks/gpu/latency.py --work DIR [--out benchmarks/gpu/vit-l.md]

Also checks that the fp16 plan's logits are within 0.02 of float32. What is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from vit_l import detector, flops

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
FP16_LOGIT = 0.02
"""How far fp16 logits may be from float32."""

Run = Callable[[np.ndarray], np.ndarray]


def matmul_peak() -> float:
    """FLOP/s of a large fp16 matrix product."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.float16) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(20):
        a @ b
    end.record()
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (start.elapsed_time(end) / 1000)


def torch_run(module: Callable[[torch.Tensor], Any]) -> Run:
    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(images).cuda())[0].float().cpu().numpy()

    return run


def engine_run(path: Path, device: str) -> Run:
    from cinemae.runtime.engines.load import load_engine

    engine = load_engine(path, device=device)
    return lambda images: engine.infer(images).logit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--backbone", default="vit_large_patch16")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    from cinemae.export.fused import export_fused
    from cinemae.export.graph.packed import PackedDetector
    from cinemae.export.request import BuildOptions
    from cinemae.export.tensorrt import build_plan
    from cinemae.runtime.core.errors import CinemaeError

    arguments.work.mkdir(parents=True, exist_ok=True)
    model, manifest = detector(arguments.backbone)
    rng = np.random.default_rng(0)
    check = rng.integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = model(torch.from_numpy(check)).logit.numpy()
    engine, plan = arguments.work / "vit-l-fp16.onnx", arguments.work / "vit-l-fp16.plan"
    if not engine.exists():
        export_fused(model, manifest, engine, "fp16")
    half = PackedDetector(model, torch.float16).cuda()

    def tensorrt() -> Run:
        if not plan.exists():
            options = BuildOptions(best_batch=32, max_batch=max(BATCHES), timing_cache=arguments.work / "timings")
            build_plan(engine, plan, options)
        return engine_run(plan, "tensorrt")

    makers: dict[str, Callable[[], Run]] = {
        "eager fp16 (packed)": lambda: torch_run(half),
        "torch.compile fp16 (packed)": lambda: torch_run(torch.compile(half, mode="max-autotune")),
        "onnxruntime CUDA fp16": lambda: engine_run(engine, "cuda"),
        "onnxruntime TensorRT fp16": lambda: engine_run(engine, "tensorrt"),
        "TensorRT plan fp16": tensorrt,
    }
    peak, work = matmul_peak(), flops(model.mae.config, packed=True)
    lines = [
        f"{torch.cuda.get_device_name()}, {arguments.backbone}, fp16, K = 2; measured fp16 matmul peak "
        f"{peak / 1e12:.0f} TFLOP/s; {work / 1e9:.0f} GFLOP per image.",
        "",
        "| | batch | ms, median | p95 | images/s | of the matmul peak | logit error |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, make in makers.items():
        try:
            run = make()
            error = float(np.abs(run(check) - expected).max())
        except CinemaeError as problem:
            lines.append(f"| {name} | not measured: {problem} | | | | | |")
            continue
        for batch in BATCHES:
            images = rng.integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
            for _ in range(3):
                run(images)
            times = []
            for _ in range(arguments.repeats):
                start = time.perf_counter()
                run(images)
                times.append(time.perf_counter() - start)
            median = float(np.median(times))
            verdict = f"{error:.4f}" + ("" if error <= FP16_LOGIT else " TOO LARGE")
            lines.append(
                f"| {name} | {batch} | {median * 1e3:.2f} | {np.percentile(times, 95) * 1e3:.2f} "
                f"| {batch / median:.0f} | {work * batch / median / peak:.0%} | {verdict} |"
            )
        print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
