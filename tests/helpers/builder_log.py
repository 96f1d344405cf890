"""The layers of an engine as TensorRT-RTX's builder logs them: real kernels, without a GPU.

The builder's verbose log ends with "Layers:" and a line a layer, `Name: NAME, LayerType: TYPE, Inputs: [...]`.
TensorRT-RTX 1.7 names generated kernels after the operations they hold, `__myl_AddReshTranMove_myl0_4`; its attention
kernels are `_gemm_mha_v2_myl0_8`, and `_gemv_mha_v1_myl0_9` for one query.
"""

import re
from pathlib import Path
from typing import Any

MOVES = {"Add", "Cast", "Conc", "Gath", "Move", "Mul", "Repl", "Resh", "Slic", "Tran"}
"""Operations that move values, or add or multiply a constant on the way: a kernel of these alone is a copy."""

NOT_KERNELS = ("shape_call", "signal", "wait")
"""Layers that compute shapes on the host, or let one stream wait for another."""


def build_log(rtx: Any, path: Path, batch: tuple[int, int, int]) -> list[str]:
    """Build the engine at `path` and return the builder's log; a failure ends in an AssertionError with its reason."""

    class Logger(rtx.ILogger):
        def __init__(self) -> None:
            rtx.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            self.lines.append(message)

    logger = Logger()
    builder = rtx.Builder(logger)
    network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = rtx.OnnxParser(network, logger)
    assert parser.parse_from_file(str(path)), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.clear_flag(rtx.BuilderFlag.TF32)
    config.profiling_verbosity = rtx.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    shape = tuple(network.get_input(0).shape)[1:]
    profile.set_shape("images", *((size, *shape) for size in batch))
    config.add_optimization_profile(profile)
    built = builder.build_serialized_network(network, config)
    assert built is not None, logger.lines[-3:]
    return logger.lines


def kernels(log: list[str]) -> str:
    """One letter a kernel, in order: A attention, G matrix product, N LayerNorm, c copy, - anything else."""
    text = next(message for message in reversed(log) if ", LayerType: " in message)
    layers = re.findall(r"^\s*Name: (.*?), LayerType: (\w+)", text, re.MULTILINE)
    return "".join(kind(name, layer_type) for name, layer_type in layers if layer_type not in NOT_KERNELS)


def kind(name: str, layer_type: str) -> str:
    """The letter of one kernel, see `kernels`."""
    if "_mha_" in name:
        return "A"
    if layer_type in ("gemm", "runtime_fusion"):
        return "G"
    operations = re.findall(r"[A-Z][a-z]*", re.sub(r"^__myl_|(Etc)?_myl\d+_\d+$", "", name))
    if layer_type == "kgen" and set(operations) <= MOVES:
        return "c"
    return "N" if {"Mean", "Sqrt"} <= set(operations) else "-"
