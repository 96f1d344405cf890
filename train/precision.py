"""The arithmetic in which the frozen backbone runs: full float32, TensorFloat-32, bfloat16 or float16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal, get_args

from ..runtime.core.errors import UsageError
from ..runtime.diagnose.hardware import cpu_features

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

HALF = {"bf16": "bfloat16", "fp16": "float16"}
FAST_BF16 = ("amx_bf16", "avx512_bf16", "bf16")
"""Instruction sets of processors that multiply bfloat16 natively; without them it is slower than float32."""
TENSOR_CORES = (8, 0)
"""Compute capability from which NVIDIA GPUs have TensorFloat-32 and bfloat16."""
LOGIT_TOLERANCE = 0.02
"""Largest change of a logit, against float32, that the default precision of a device may make: half a per
cent of probability at most, and a seventieth of the logits' standard deviation on the development bench."""


def named_precision(name: str, auto: Precision) -> Precision:
    """The precision with this name, or `auto`, without asking a device: those of a cluster are chosen by its workers.

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
    """Choose the precision by name; `auto` is the fastest that keeps logits within `LOGIT_TOLERANCE`.

    On processors that is fp32: half precision is only faster with instructions for it, and bf16 moves logits by more.
    On GPUs it is tf32 where there is TensorFloat-32: 10 bits of mantissa like fp16, and no overflow.

    Args:
        name: auto, fp32, tf32, bf16 or fp16.
        device: to compute on.

    Raises:
        UsageError: an unknown name, or a precision that the device does not have.
    """
    import torch  # here, so that names are checked without it

    modern = device.type == "cuda" and torch.cuda.get_device_capability(device) >= TENSOR_CORES
    chosen = named_precision(name, auto="tf32" if modern else "fp32")
    if device.type == "cpu" and chosen in ("tf32", "fp16"):
        raise UsageError(f"processors do not compute in {chosen}: use --precision fp32, or a GPU with --device cuda")
    if device.type == "cpu" and chosen == "bf16" and not set(FAST_BF16) & set(cpu_features()):
        raise UsageError("this processor has no bfloat16 instructions, so bf16 is slower than fp32: --precision fp32")
    if device.type == "cuda" and chosen in ("tf32", "bf16") and not modern:
        raise UsageError(f"this GPU is older than Ampere and has no {chosen}: use --precision fp16 or fp32")
    return chosen


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run matrix products in `precision` inside the block; LayerNorm, softmax and the residual stream stay float32."""
    import torch

    with ExitStack() as stack:
        if device.type == "cuda":  # whole-process switches; cuDNN's, for convolutions, is on unless it is turned off
            before = torch.get_float32_matmul_precision()
            stack.callback(torch.set_float32_matmul_precision, before)
            torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=precision == "tf32"))
        if precision in HALF:
            stack.enter_context(torch.autocast(device.type, getattr(torch, HALF[precision])))
        yield
