"""Sessions of onnxruntime: the choice of the execution provider, its options, and the fallback to the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.environment import onnxruntime_for_gpus
from ...core.errors import EngineError, MissingDependencyError
from ...core.text import first_line
from .library import import_onnxruntime, preload
from .saturation import OPTION, saturates

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROVIDER_OF = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}
DEVICE_OF = {provider: device for device, provider in PROVIDER_OF.items()}

CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""TF32 cuts products to 10 bits of mantissa, which no fp32 engine was checked with; the heuristic search is not
repeated at length for every new batch size."""

GRAPH_IDS = (1, 18)
"""onnxruntime versions from here on keep several CUDA graphs in a session, by the run option `gpu_graph_id`."""

BOUNDED_SPINNING = (1, 27)
"""onnxruntime versions from here on know `session.intra_op.spin_duration_us`; older ones ignore it and would spin."""

SPIN_MICROSECONDS = "50"
"""Longer than the gaps between the parallel parts of one inference."""


@dataclass(frozen=True)
class Opened:
    """A session.

    Attributes:
        session: onnxruntime's InferenceSession.
        notes: sentences for the user: a device or CUDA graphs that do not work here.
        graphs: whether the CUDA provider was made with `enable_cuda_graph`.
    """

    session: Any
    notes: tuple[str, ...] = ()
    graphs: bool = False


def choose_providers(device: str, available: list[str]) -> list[str]:
    """The execution providers to request, best first; the CPU comes last for operators that the GPU lacks.

    "auto" prefers CUDA to the CPU and never chooses TensorRT, which compiles for minutes at the first batch.

    Args:
        device: "auto", "cpu", "cuda" or "tensorrt".
        available: the providers of this onnxruntime.

    Raises:
        MissingDependencyError: this onnxruntime lacks the device's provider; lists the devices that it has.
    """
    if device == "auto":
        return [provider for provider in (CUDA, CPU) if provider in available]
    wanted = PROVIDER_OF[device]
    if wanted not in available:
        raise MissingDependencyError(
            f"device {device!r} is not usable: this onnxruntime offers {_devices(available)}; "
            f"for a GPU, pip uninstall onnxruntime and {onnxruntime_for_gpus()}"
        )
    return [wanted] if wanted == CPU else [wanted, CPU]


def _devices(providers: list[str]) -> str:
    return ", ".join(DEVICE_OF[p] for p in providers if p in DEVICE_OF) or "none"


def create_session(path: Path, device: str, threads: int | None, graphs: bool = False) -> Opened:
    """Make an InferenceSession and check that it uses the requested device.

    Args:
        path: the ONNX file.
        device: as `choose_providers`.
        threads: CPU threads of one inference; None: onnxruntime chooses.
        graphs: try CUDA graphs, which need IO binding to fixed memory.

    Raises:
        EngineError: onnxruntime cannot load the graph.
        MissingDependencyError: onnxruntime is missing, or an explicit device would not really be used.
    """
    ort = import_onnxruntime()
    providers = choose_providers(device, ort.get_available_providers())
    best = providers[0]
    preload(ort, best)
    notes: tuple[str, ...] = ()
    if graphs and best == CUDA and version(ort) >= GRAPH_IDS:
        try:
            session = _session(ort, path, providers, threads, {"enable_cuda_graph": "1"})
            if session.get_providers()[0] == CUDA:
                return Opened(session, graphs=True)
        except Exception as error:  # for instance because a node runs on the CPU; the file itself is tried again
            notes = (f"without CUDA graphs: {first_line(error)}",)
    why = ""
    try:
        session = _session(ort, path, providers, threads)
    except Exception as error:
        if device != "auto" or best == CPU:
            raise EngineError(f"{path}: onnxruntime {ort.__version__} cannot load it: {first_line(error)}") from None
        why = f" ({first_line(error)})"
        session = _session(ort, path, [CPU], threads)
    used = session.get_providers()[0]
    if used == best:
        return Opened(session, notes)
    if device != "auto":
        raise MissingDependencyError(
            f"device {device!r} was asked for, but onnxruntime would run on {_devices(session.get_providers())}: "
            "its GPU libraries or the driver do not load; cinemae-doctor names what is missing, or use --device auto"
        )
    return Opened(
        session, (f"{DEVICE_OF[best]} is installed but does not work here{why}: running on {DEVICE_OF[used]}",)
    )


def _session(
    ort: Any, path: Path, providers: list[str], threads: int | None, cuda: Mapping[str, str] | None = None
) -> Any:
    """One InferenceSession; raises what onnxruntime raises."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # failures reach the user as one line of ours, not as a log
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    limit_spinning(ort, options)
    if saturates(ort):
        options.add_session_config_entry(*OPTION)
    chosen = [(name, {**CUDA_OPTIONS, **(cuda or {})} if name == CUDA else {}) for name in providers]
    # its own fallback prints on stdout, in the middle of the records
    session = ort.InferenceSession(str(path), options, providers=chosen, enable_fallback=0)
    session.disable_fallback()
    return session


def version(ort: Any) -> tuple[int, ...]:
    """Major and minor version of onnxruntime."""
    return tuple(int(part) for part in ort.__version__.split(".")[:2])


def limit_spinning(ort: Any, options: Any) -> None:
    """Bound the time that idle threads spin where onnxruntime supports a bound, else turn spinning off.

    By default idle threads spin without bound and occupy the cores that decoding needs: a scan on a busy machine takes
    1.3 to 1.6 times as long. Without spinning an idle machine loses 4 to 11 %, with the bound at most 5 %.
    """
    if version(ort) >= BOUNDED_SPINNING:
        options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
    else:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
