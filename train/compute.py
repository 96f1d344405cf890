"""Where training computes, in which arithmetic and with how many threads."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from ..runtime.core.environment import lacks_bf16
from ..runtime.core.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("cinemae.train")
# torch is imported inside the functions, so that names of devices and precisions are checked without it.

Item = TypeVar("Item")
Result = TypeVar("Result")
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

HALF = {"bf16": "bfloat16", "fp16": "float16"}
TENSOR_CORES = (8, 0)
"""Compute capability from which NVIDIA GPUs have TensorFloat-32 and bfloat16."""


def prepare_process(threads: int = 0) -> None:
    """Set up logging to stderr and the number of threads (0: torch's own choice, less the processors that are busy)."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("cinemae").setLevel(logging.INFO)  # not of libraries: exporters log thousands of lines
    import torch

    if not threads and (idle := idle_processors()) is not None:
        usual = torch.get_num_threads()
        threads = max(1, min(usual, round(idle)))
        if threads < usual:  # torch's threads wait for each other: on a busy processor more of them are slower
            log.info("%d of %d threads: the other processors are busy; --threads sets the number", threads, usual)
    if threads:
        torch.set_num_threads(threads)


def idle_processors(seconds: float = 0.2, path: str = "/proc/stat") -> float | None:
    """How many processors do nothing, measured over some time; None where the system does not tell (not Linux)."""
    counts = []
    try:
        for pause in (seconds, 0.0):
            with open(path, encoding="ascii") as file:  # cpu user nice system idle iowait ..., proc(5)
                ticks = [[int(tick) for tick in line.split()[1:9]] for line in file if line.startswith("cpu")]
            counts.append((ticks[0][3] + ticks[0][4], sum(ticks[0]), len(ticks) - 1))
            time.sleep(pause)
    except (OSError, ValueError, IndexError):
        return None
    (idle, total, _), (idle_then, total_then, processors) = counts
    return processors * (idle_then - idle) / max(1, total_then - total)


def check_device(name: str) -> None:
    """Raise UsageError for an unknown name of a device; torch is not asked whether the device is there."""
    if name not in ("auto", "cpu", "cuda") and not name.startswith("cuda:"):
        raise UsageError(f"unknown device {name!r}: use auto, cpu or cuda")


def choose_device(name: str) -> torch.device:
    """Choose a device by name.

    Args:
        name: auto, cpu, cuda or cuda:N; under torchrun, cuda is the process's own card.

    Raises:
        UsageError: unknown name.
        MissingDependencyError: CUDA is asked for and not available.
    """
    import torch

    check_device(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise MissingDependencyError("PyTorch finds no CUDA device; use --device cpu, or install a CUDA build of torch")
    return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" else name)


def named_precision(name: str, auto: Precision = "fp32") -> Precision:
    """The precision with this name, or `auto`; no device is asked whether it has the precision.

    Raises:
        UsageError: an unknown name.
    """
    if name == "auto":
        return auto
    for precision in PRECISIONS:
        if precision == name:
            return precision
    raise UsageError(f"unknown precision {name!r}: use auto, {', '.join(PRECISIONS)}")


def choose_precision(name: str, device: torch.device) -> Precision:
    """Choose the precision by name; `auto` is the fastest that moved no logit by 0.02 in benchmarks/extract-speed.md.

    On processors that is fp32: half precision is only faster with instructions for it, and bf16 moves logits by more.
    On GPUs it is tf32 where there is TensorFloat-32: 10 bits of mantissa like fp16, and no overflow.

    Args:
        name: auto, fp32, tf32, bf16 or fp16.
        device: to compute on.

    Raises:
        UsageError: an unknown name, or a precision that the device does not have.
    """
    import torch

    modern = device.type == "cuda" and torch.cuda.get_device_capability(device) >= TENSOR_CORES
    chosen = named_precision(name, auto="tf32" if modern else "fp32")
    if device.type == "cpu" and chosen in ("tf32", "fp16"):
        raise UsageError(f"processors do not compute in {chosen}: use --precision fp32, or a GPU with --device cuda")
    if device.type == "cpu" and chosen == "bf16" and lacks_bf16():
        raise UsageError("this processor has no bfloat16 instructions, so bf16 is slower than fp32: --precision fp32")
    if device.type == "cuda" and chosen in ("tf32", "bf16") and not modern:
        raise UsageError(f"this GPU is older than Ampere and has no {chosen}: use --precision fp16 or fp32")
    return chosen


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Inside the block, matrix products run in `precision`; LayerNorm, softmax and residual sums stay float32."""
    import torch

    with ExitStack() as stack:
        if device.type == "cuda":  # switches of the whole process; that of cuDNN, for convolutions, is on by default
            before = torch.get_float32_matmul_precision()
            stack.callback(torch.set_float32_matmul_precision, before)
            torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=precision == "tf32"))
        if precision in HALF:
            stack.enter_context(torch.autocast(device.type, getattr(torch, HALF[precision])))
        yield


def map_dividing_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Results of `function` for all `items`, in order, on torch's threads, which are divided between the items.

    Threads that share one matrix product wait for the slowest at its end; items that run side by side do not. With one
    batch for all masked runs that gains 1.16 on two cores (benchmarks/extract-speed.md). `function` sets its own modes:
    inference mode and autocast belong to a thread.
    """
    import torch

    threads = torch.get_num_threads()
    lanes = min(threads, len(items))
    if lanes < 2:
        return [function(item) for item in items]
    share = threads // lanes
    torch.set_num_threads(share)  # partly a switch of the process, partly of the thread: both are set
    try:
        with ThreadPoolExecutor(lanes, "compute", torch.set_num_threads, (share,)) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(threads)
