"""The stages of `prove.py` that need torch and onnxruntime-gpu: the TF32 question, and what else runs ViT-L.

    python benchmarks/gpu/proof_providers.py DEVICE     the differences of the bundled engine on DEVICE from the CPU
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from cinemae.runtime.engines.cuda.buckets import buckets
from proof_measures import LOGIT, facts, latency_row, reference
from proof_rows import Measurement, Rows, Skipped

CUDA = "onnxruntime CUDA"
Run = Callable[[np.ndarray], np.ndarray]
"""uint8 [B, S, S, 3] -> logit [B]."""

TF32_FACTOR = 10.0
"""TF32 rounds inputs to 10 bits of mantissa instead of 23: its error is hundreds of times that of float32."""


def setting() -> str:
    """The GPU and the version of onnxruntime, in the keys of these rows."""
    try:
        from cinemae.runtime.diagnose.hardware import gpus
        from cinemae.runtime.engines.onnx.library import import_onnxruntime

        onnxruntime = import_onnxruntime()
    except Exception as error:  # cinemae's own where onnxruntime is missing
        raise Skipped(f"needs cinemae and onnxruntime-gpu ({error}): run this stage where they are") from None
    found = gpus()
    if isinstance(found, str):
        raise Skipped(f"{found}: run this stage where an NVIDIA GPU is")
    return f"{found[0].name}, onnxruntime {onnxruntime.__version__}"


def differences(device: str) -> tuple[float, float, float]:
    """Differences of logit, statistics and LCAS of the bundled float32 engine on a device from those on the CPU."""
    from cinemae.export.parity import BATCHES, differences, parity_images
    from cinemae.runtime.engines.load import load_engine

    with load_engine(None, "cpu") as cpu, load_engine(None, device) as engine:
        images = parity_images(max(BATCHES), cpu.manifest.preprocess.crop)
        return differences(engine.infer(images), cpu.infer(images), "fp32")


def differences_apart(device: str, **environment: str) -> tuple[float, float, float]:
    """`differences` in a process of its own, whose libraries see `environment` from their start."""
    done = subprocess.run(
        [sys.executable, __file__, device], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no reason given"])[-1])
    logit, stats, lcas = json.loads(done.stdout)
    return logit, stats, lcas


def tf32(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(0) Whether `--device tensorrt` computes a float32 graph in TF32, which onnxruntime has no option for."""
    machine = setting()

    def compare(device: str) -> dict[str, Any]:
        from cinemae.export.parity import within

        off, exact = differences_apart(device), differences_apart(device, NVIDIA_TF32_OVERRIDE="0")
        return {"off": off, "off_without_tf32": exact, "tf32": max(off) > TF32_FACTOR * max(exact),
                "passed": within(off, "fp32")}

    for device in ("tensorrt", "cuda"):
        yield f"{device} on {machine}", partial(compare, device)


def engine_run(path: Path, device: str) -> Run:
    """How an engine of the product computes."""
    from cinemae.runtime.engines.load import load_engine

    engine = load_engine(path, device)
    return lambda images: engine.infer(images).logit


def sizes(kind: str, largest: int) -> list[int]:
    """Batch sizes that a kind of `others` really runs: the product's IO binding splits those above its largest."""
    from cinemae.runtime.engines.onnx.binding import LARGEST

    return buckets(1, min(largest, LARGEST) if kind == CUDA else largest)


def others(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(f) Eager PyTorch, torch.compile and onnxruntime's providers: speed, and the logit's error against float32."""
    machine = setting()
    try:
        import torch
        from cinemae.export.graph.packed import PackedDetector
        from vit_l import detector
    except ImportError as error:
        raise Skipped(f"needs torch ({error}): run this stage where it is installed") from None
    if not torch.cuda.is_available():
        raise Skipped("torch finds no NVIDIA GPU here")
    found, manifest = detector(arguments.backbone)
    half, size = PackedDetector(found, torch.float16).cuda(), manifest.preprocess.crop
    known, fact = reference(arguments, "vit-l"), facts(rows, "vit-l", machine)

    def torch_run(module: Callable[[Any], Any]) -> Run:
        def run(images: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return np.asarray(module(torch.from_numpy(images).cuda())[0].float().cpu().numpy())

        return run

    engine = arguments.work / "vit-l.onnx"
    makers: dict[str, Callable[[], Run]] = {
        "torch eager": lambda: torch_run(half),
        "torch compile": lambda: torch_run(torch.compile(half, mode="max-autotune")),
        CUDA: lambda: engine_run(engine, "cuda"),
        "onnxruntime TensorRT": lambda: engine_run(engine, "tensorrt"),
    }

    def row(make: Callable[[], tuple[Run, float]], batch: int) -> dict[str, Any]:
        run, error = make()
        return {**latency_row(run, batch, size, arguments.repeats, fact), "logit_error": error,
                "passed": error <= LOGIT}

    def checked(make: Callable[[], Run]) -> tuple[Run, float]:
        run = make()
        return run, float(np.abs(run(known["images"]) - known["logit"]).max())

    for kind, make in makers.items():
        once = cache(partial(checked, make))  # compiled and loaded once
        for batch in sizes(kind, arguments.largest):
            yield f"{kind} batch {batch} on {machine}", partial(row, once, batch)


if __name__ == "__main__":
    print(json.dumps(differences(sys.argv[1])))
