"""The stages of `prove.py`. Each yields (key, measurement); torch, TensorRT and pydantic are imported inside."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from proof_jpegs import write_jpegs
from proof_rows import Measurement, Rows, Skipped

SIZES = ((500, 375), (1600, 1200))
LOGIT, LCAS = 2e-2, 1e-2
"""Tolerances of fp16 as in `cinemae.export.parity`, relative above 1 as there; that module may not import here."""


def export(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(a) fp16 engines with reference outputs by eager PyTorch, and the types that TensorRT 8.6 needs."""

    def write(name: str, detector: Any, manifest: Any) -> dict[str, Any]:
        from cinemae.export.fused import export_fused
        from cinemae.export.parity import BATCHES, eager_output, parity_images
        from cinemae.export.plan_check import Reference, write_reference
        from cinemae.runtime.engines.tensorrt.tensorrt_8 import float_types

        path, start = arguments.work / f"{name}.onnx", time.monotonic()
        images = parity_images(max(BATCHES), manifest.preprocess.crop)
        written = export_fused(detector, manifest, path, "fp16")
        write_reference(path, written.content_sha256, Reference(images, eager_output(detector, images)))
        path.with_suffix(".types.json").write_text(json.dumps(float_types(path)))
        return {"bytes": path.stat().st_size, "sha256": written.content_sha256, "s": round(time.monotonic() - start, 1)}

    def vit_l() -> dict[str, Any]:
        from vit_l import detector, flops

        found, manifest = detector(arguments.backbone)
        work = flops(found.mae.config, packed=True)
        return {**write("vit-l", found, manifest), "backbone": arguments.backbone, "flop_per_image": work}

    def bundled() -> dict[str, Any]:
        if arguments.checkpoint is None:
            raise Skipped("no checkpoint of the bundled engine: give --checkpoint DIR")
        from cinemae.train.fitting.checkpoint import load_checkpoint

        loaded = load_checkpoint(arguments.checkpoint)
        return write("bundled", loaded.detector, loaded.manifest)

    yield "vit-l", vit_l
    yield "bundled", bundled


def device() -> tuple[Any, Any]:
    """TensorRT's module and the CUDA runtime."""
    try:
        import tensorrt
        from cinemae.runtime.engines.cuda.driver import Cuda

        cuda = Cuda.load()
        cuda.device()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise Skipped(f"needs TensorRT, cuda-python and an NVIDIA GPU ({reason}): run it where they are") from None
    return tensorrt, cuda


def product_backend() -> bool:
    """Whether the product's builder and backend import here; they need pydantic."""
    try:
        import cinemae.export.tensorrt
    except ImportError:
        return False
    return bool(cinemae.export.tensorrt)


def names(arguments: argparse.Namespace, suffix: str) -> list[str]:
    """The engines for which stage a, or b, has written a file."""
    found = [name for name in ("vit-l", "bundled") if (arguments.work / f"{name}{suffix}").exists()]
    if not found:
        stage = "export" if suffix == ".onnx" else "build"
        raise Skipped(f"{arguments.work} holds no NAME{suffix}: run stage {stage} first")
    return found


def build(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(b) Plans; the product's builder compares a plan with the reference before it writes it."""
    found = names(arguments, ".onnx")
    trt, cuda = device()

    def one(name: str) -> dict[str, Any]:
        engine, plan, start = arguments.work / f"{name}.onnx", arguments.work / f"{name}.plan", time.monotonic()
        batch = (1, min(8, arguments.largest), arguments.largest)
        if product_backend():
            from cinemae.export.request import BuildOptions
            from cinemae.export.tensorrt import build_plan

            options = BuildOptions(best_batch=batch[1], max_batch=batch[2], timing_cache=arguments.work / "timings")
            build_plan(engine, plan, options, trt, cuda)
        else:
            from bare_plan import build_bare

            build_bare(trt, engine, plan, batch)
        gpu = cuda.device()
        builder = "product" if product_backend() else "bare"
        return {"s": round(time.monotonic() - start, 1), "bytes": plan.stat().st_size, "tensorrt": trt.__version__,
                "gpu": gpu.name, "capability": gpu.capability, "builder": builder}

    for name in found:
        yield name, partial(one, name)


def reference(arguments: argparse.Namespace, name: str) -> dict[str, np.ndarray]:
    """Images and eager PyTorch's outputs."""
    with np.load(arguments.work / f"{name}.reference.npz") as stored:
        return dict(stored)


def opened(arguments: argparse.Namespace, name: str, trt: Any, cuda: Any) -> Any:
    """The plan in the product's backend, or in the bare one."""
    plan = arguments.work / f"{name}.plan"
    if product_backend():
        from cinemae.runtime.engines.tensorrt.engine import open_engine

        return open_engine(plan, "tensorrt", None, trt, cuda)
    from bare_plan import BarePlan

    known = reference(arguments, name)
    size, patches = known["images"].shape[1], known["lcas"].shape[1]
    return BarePlan(trt, cuda, plan, arguments.largest, size=size, patches=patches)


def outputs(engine: Any, images: np.ndarray) -> list[np.ndarray]:
    """logit, stats, lcas of either backend."""
    found = engine.infer(images)
    return found if isinstance(found, list) else [found.logit, found.stats, found.lcas]


def buckets(largest: int) -> list[int]:
    """1, 2, 4, ... and `largest`, as `cinemae.runtime.engines.cuda.buckets` has them."""
    return sorted({largest, *(2**i for i in range(largest.bit_length()))})


def parity(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(c) Every bucket ascending, then large and small in turn, against the reference."""
    found = names(arguments, ".plan")
    trt, cuda = device()
    sizes = buckets(arguments.largest)
    turns = [size for pair in zip(reversed(sizes), sizes, strict=True) for size in pair]
    for name in found:
        known, engine = reference(arguments, name), opened(arguments, name, trt, cuda)

        def one(size: int, known: dict[str, np.ndarray] = known, engine: Any = engine) -> dict[str, Any]:
            at = (np.arange(size) + size) % len(known["images"])  # other images at each place for each size
            logit, stats, lcas = outputs(engine, known["images"][at])
            wanted = known["logit"][at]
            scale = np.maximum(np.nanmax(np.abs(known["lcas"][at]), axis=1, keepdims=True), 1.0)
            with np.errstate(invalid="ignore"):
                off = {"logit": float((np.abs(logit - wanted) / np.maximum(np.abs(wanted), 1)).max()),
                       "stats": float((np.abs(stats - known["stats"][at]) / scale).max()),
                       "lcas": float(np.nanmax(np.abs(lcas - known["lcas"][at]) / scale))}
            nan = np.array_equal(np.isnan(lcas), np.isnan(known["lcas"][at]))
            return {**off, "passed": bool(nan and off["logit"] <= LOGIT and max(off["stats"], off["lcas"]) <= LCAS)}

        try:
            for step, size in enumerate((*sizes, *turns)):
                yield f"{name} step {step} batch {size}", partial(one, size)
        finally:
            engine.close()


def timed(run: Any, repeats: int) -> tuple[float, float]:
    """Median and 95th percentile of the seconds of a call, after three that do not count."""
    taken = []
    for turn in range(repeats + 3):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
        if turn < 3:
            taken.clear()
    return float(np.median(taken)), float(np.percentile(taken, 95))


def latency_row(run: Any, batch: int, size: int, repeats: int, row: dict[str, Any]) -> dict[str, Any]:
    """Latency and throughput at one batch size, and the share of the peak where `row` has FLOP and peak."""
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    median, p95 = timed(lambda: run(images), repeats)
    found = {"batch": batch, "ms": 1e3 * median, "p95_ms": 1e3 * p95, "images_per_s": batch / median}
    if row.get("flop_per_image") and row.get("flop_per_s"):
        found["share_of_peak"] = row["flop_per_image"] * batch / median / row["flop_per_s"]
    return found


def facts(rows: Rows, name: str) -> dict[str, Any]:
    """FLOP of an image (stage a) and the measured fp16 peak (stage d), where those rows are there."""
    return {**rows.found.get(("export", name), {}), **rows.found.get(("latency", "fp16 matmul peak"), {})}


def latency(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(d) The card's fp16 peak by a product in TensorRT, then latency and throughput at every bucket."""
    found = names(arguments, ".plan")
    trt, cuda = device()

    def peak() -> dict[str, Any]:
        from bare_plan import matmul_peak

        return {"flop_per_s": matmul_peak(trt, cuda, time.perf_counter), "product": 8192}

    def row(engine: Any, batch: int, size: int, name: str) -> dict[str, Any]:
        return latency_row(engine.infer, batch, size, arguments.repeats, facts(rows, name))

    yield "fp16 matmul peak", peak
    for name in found:
        engine, size = opened(arguments, name, trt, cuda), reference(arguments, name)["images"].shape[1]
        try:
            for batch in buckets(arguments.largest):
                yield f"{name} batch {batch}", partial(row, engine, batch, size, name)
        finally:
            engine.close()


def folder(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(e) `cinemae-run` on folders of JPEGs against the engine alone."""
    for width, height in SIZES:
        where = arguments.work / f"jpegs-{width}x{height}"
        key = f"jpegs {width}x{height} {arguments.images}"
        yield key, partial(write_jpegs, where, (width, height), arguments.images)

    def one(name: str, where: Path) -> dict[str, Any]:
        device()
        if not product_backend():
            raise Skipped("cinemae-run needs pydantic, pillow, typer and rich in this Python: put them on PYTHONPATH")
        out = arguments.work / "records.jsonl"
        command = [sys.executable, "-m", "cinemae", "run", str(where), "--device", "tensorrt", "--quiet",
                   "--engine", str(arguments.work / f"{name}.plan"), "--out", str(out)]
        start = time.perf_counter()
        subprocess.run(command, check=True)
        rate = arguments.images / (time.perf_counter() - start)
        alone = [row["images_per_s"] for (stage, key), row in rows.found.items()
                 if stage == "latency" and key.startswith(name) and "images_per_s" in row]
        return {"images_per_s": rate, "of_engine_alone": rate / max(alone) if alone else None, "cpus": os.cpu_count()}

    for name in names(arguments, ".plan"):
        for width, height in SIZES:
            where = arguments.work / f"jpegs-{width}x{height}"
            yield f"{name} {width}x{height}", partial(one, name, where)


def others(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(f) Eager PyTorch, torch.compile and onnxruntime's CUDA provider; `latency.py` has how each is run."""
    try:
        import torch
        from latency import engine_run, torch_run
    except ImportError as error:
        raise Skipped(f"needs torch ({error}): run this stage where it is installed") from None
    if not torch.cuda.is_available():
        raise Skipped("torch finds no NVIDIA GPU here")
    from cinemae.export.graph.packed import PackedDetector
    from vit_l import detector

    found, manifest = detector(arguments.backbone)
    half, size = PackedDetector(found, torch.float16).cuda(), manifest.preprocess.crop
    makers = {
        "torch eager": lambda: torch_run(half),
        "torch compile": lambda: torch_run(torch.compile(half, mode="max-autotune")),
        "onnxruntime CUDA": lambda: engine_run(arguments.work / "vit-l.onnx", "cuda"),
    }

    def row(make: Callable[[], Any], batch: int) -> dict[str, Any]:
        return latency_row(make(), batch, size, arguments.repeats, facts(rows, "vit-l"))

    for kind, make in makers.items():
        once = cache(make)  # compiled and loaded once
        for batch in buckets(arguments.largest):
            yield f"{kind} batch {batch}", partial(row, once, batch)


STAGES = {"export": export, "build": build, "parity": parity, "latency": latency, "folder": folder, "others": others}
