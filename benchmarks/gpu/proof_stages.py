"""The stages of `prove.py`. Each yields (key, measurement); torch, TensorRT and pydantic are imported inside."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cinemae.runtime.engines.cuda.buckets import buckets
from proof_jpegs import write_jpegs
from proof_measures import LCAS, LOGIT, facts, in_flight_row, latency_row, reference
from proof_providers import others, tf32
from proof_rows import Measurement, Rows, Skipped

SIZES = ((500, 375), (1600, 1200))
PRODUCT = 8192
"""Rows and columns of the matrices whose product gives the GPU's peak."""


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


def setting(arguments: argparse.Namespace, trt: Any, cuda: Any) -> str:
    """GPU, version of TensorRT and largest batch: each has plans and rows of its own, whose keys end with this."""
    return f"{cuda.device().name}, TensorRT {trt.__version__}, largest {arguments.largest}"


def plan_path(arguments: argparse.Namespace, name: str, machine: str) -> Path:
    """The plan of an engine for a `setting`."""
    return Path(arguments.work, f"{name}.{re.sub('[^A-Za-z0-9.]+', '-', machine)}.plan")


def best_batch(arguments: argparse.Namespace) -> int:
    """The batch that plans are tuned for, and that `cinemae-run` takes."""
    return min(8, int(arguments.largest))


def names(arguments: argparse.Namespace, machine: str = "") -> list[str]:
    """The engines that stage a has written, or those of which stage b has built plans for a `setting`."""
    every = ("vit-l", "bundled")
    if machine:
        found = [name for name in every if plan_path(arguments, name, machine).exists()]
    else:
        found = [name for name in every if (arguments.work / f"{name}.onnx").exists()]
    if not found:
        what = f"plan for {machine}: run stage build" if machine else "engine: run stage export"
        raise Skipped(f"{arguments.work} holds no {what} first")
    return found


def build(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(b) Plans; the product's builder compares a plan with the reference before it writes it."""
    found = names(arguments)
    trt, cuda = device()
    machine = setting(arguments, trt, cuda)

    def one(name: str) -> dict[str, Any]:
        engine, plan, start = arguments.work / f"{name}.onnx", plan_path(arguments, name, machine), time.monotonic()
        batch = (1, best_batch(arguments), arguments.largest)
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
        yield f"{name} on {machine}", partial(one, name)


def opened(arguments: argparse.Namespace, name: str, trt: Any, cuda: Any) -> Any:
    """The plan in the product's backend, or in the bare one."""
    plan = plan_path(arguments, name, setting(arguments, trt, cuda))
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


def parity(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(c) Every bucket ascending, then large and small in turn, against the reference."""
    trt, cuda = device()
    machine = setting(arguments, trt, cuda)
    found = names(arguments, machine)
    sizes = buckets(1, arguments.largest)
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
                yield f"{name} step {step} batch {size} on {machine}", partial(one, size)
        finally:
            engine.close()


def latency(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(d) The card's fp16 peak by a product in TensorRT, then latency and throughput at every bucket."""
    trt, cuda = device()
    machine = setting(arguments, trt, cuda)
    found = names(arguments, machine)

    def peak() -> dict[str, Any]:
        from bare_plan import matmul_peak

        return {"flop_per_s": matmul_peak(trt, cuda, time.perf_counter, PRODUCT), "product": PRODUCT}

    def row(engine: Any, batch: int, size: int, name: str) -> dict[str, Any]:
        return latency_row(engine.infer, batch, size, arguments.repeats, facts(rows, name, machine))

    yield f"fp16 matmul peak on {machine}", peak
    for name in found:
        engine, size = opened(arguments, name, trt, cuda), reference(arguments, name)["images"].shape[1]
        try:
            for batch in buckets(1, arguments.largest):
                yield f"{name} batch {batch} on {machine}", partial(row, engine, batch, size, name)
            if product_backend():
                best = best_batch(arguments)
                yield f"{name} in flight on {machine}", partial(in_flight_row, engine, best, size, arguments.repeats)
        finally:
            engine.close()


def folder(arguments: argparse.Namespace, rows: Rows) -> Generator[Measurement, None, None]:
    """(e) `cinemae-run` on folders, less its time for one image of them, against the engine with batches in flight."""
    for width, height in SIZES:
        where = arguments.work / f"jpegs-{width}x{height}"
        key = f"jpegs {width}x{height} {arguments.images}"
        yield key, partial(write_jpegs, where, (width, height), arguments.images)
    machine = setting(arguments, *device())

    def seconds(name: str, source: Path) -> float:
        command = [sys.executable, "-m", "cinemae", "run", str(source), "--device", "tensorrt", "-q", "--overwrite",
                   "--engine", str(plan_path(arguments, name, machine)), "--out", str(arguments.work / "records.jsonl")]
        start = time.perf_counter()
        subprocess.run(command, check=True)
        return time.perf_counter() - start

    def one(name: str, where: Path) -> dict[str, Any]:
        if not product_backend():
            raise Skipped("cinemae-run needs pydantic, pillow, typer and rich in this Python: put them on PYTHONPATH")
        alone = rows.found.get(("latency", f"{name} in flight on {machine}"), {}).get("images_per_s")
        first, whole = seconds(name, where / "00000.jpg"), seconds(name, where)
        rate = (arguments.images - 1) / (whole - first)
        return {"images_per_s": rate, "s": whole, "first_image_s": first,
                "of_engine_alone": rate / alone if alone else None, "cpus": os.cpu_count()}

    for name in names(arguments, machine):
        for width, height in SIZES:
            where = arguments.work / f"jpegs-{width}x{height}"
            yield f"{name} {width}x{height} {arguments.images} on {machine}", partial(one, name, where)


STAGES = {"tf32": tf32, "export": export, "build": build, "parity": parity, "latency": latency, "folder": folder,
          "others": others}
