"""What the stages of `prove.py` share: tolerances, batch sizes, the reference of stage a, and how a call is timed."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from proof_rows import Rows

LOGIT, LCAS = 2e-2, 1e-2
"""Tolerances of fp16 as in `cinemae.export.parity`, relative above 1 as there; that module may not import here."""


def reference(arguments: argparse.Namespace, name: str) -> dict[str, np.ndarray]:
    """Images and eager PyTorch's outputs."""
    with np.load(arguments.work / f"{name}.reference.npz") as stored:
        return dict(stored)


def facts(rows: Rows, name: str, machine: str) -> dict[str, Any]:
    """FLOP of an image (stage a) and the fp16 peak (stage d) of the GPU that `machine` names first; {} without."""
    gpu = machine.partition(",")[0]
    peaks = (row for (stage, key), row in rows.found.items()
             if stage == "latency" and key.startswith(f"fp16 matmul peak on {gpu},"))
    return {**rows.found.get(("export", name), {}), **next(peaks, {})}


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


def in_flight_row(engine: Any, batch: int, size: int, repeats: int) -> dict[str, Any]:
    """Throughput of batches as `cinemae-run` gives them to the product's backend, two in flight."""
    images = list(np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8))

    def run(times: int) -> None:
        pending = engine.begin(images)
        for _ in range(times - 1):
            following = engine.begin(images)
            pending()
            pending = following
        pending()

    run(4)  # each slot makes its context and its graph
    start = time.perf_counter()
    run(repeats)
    return {"batch": batch, "images_per_s": batch * repeats / (time.perf_counter() - start)}
