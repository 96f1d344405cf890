"""onnxruntime backend: runs the fused graph, LCAS (Eq. 4) included, on its CPU, CUDA or TensorRT provider."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..display_text import shown
from ..errors import EngineError, MissingDependencyError
from ..install import pip_install
from ..manifest import Manifest
from .base import EngineOutput, checked_images
from .integrity import check_content, check_external_data
from .onnx_file import read_manifest
from .onnx_graph import check_graph
from .onnxruntime_import import import_onnxruntime

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROVIDER_OF = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}
DEVICE_OF = {provider: device for device, provider in PROVIDER_OF.items()}

BOUNDED_SPINNING = (1, 27)
"""onnxruntime versions from here on know `session.intra_op.spin_duration_us`; older ones ignore it and would spin."""

SPIN_MICROSECONDS = "50"
"""Longer than the gaps between the parallel parts of one inference."""



@dataclass(frozen=True)
class Port:
    """One input or output that a graph must have.

    Attributes:
        name: the tensor's name.
        dtype: as onnxruntime spells it, for example "tensor(float)".
        shape: None stands for a free dimension.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def _provider_options(provider: str) -> dict[str, str]:
    if provider == CUDA:
        # TF32 cuts products to 10 bits of mantissa, which no fp32 engine was checked with; the heuristic search is not
        # repeated at length for every new batch size
        return {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    return {}


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
            f"for a GPU, pip uninstall onnxruntime and {pip_install('gpu')}"
        )
    return [wanted] if wanted == CPU else [wanted, CPU]


def _devices(providers: list[str]) -> str:
    return ", ".join(DEVICE_OF[p] for p in providers if p in DEVICE_OF) or "none"


def create_session(path: Path, device: str, threads: int | None) -> tuple[Any, tuple[str, ...]]:
    """Make an InferenceSession and check that it uses the requested device.

    Args:
        path: the ONNX file.
        device: as `choose_providers`.
        threads: CPU threads of one inference, None for onnxruntime's choice.

    Returns:
        The session, and notes for the user: one where "auto" had to fall back.

    Raises:
        EngineError: onnxruntime cannot load the graph.
        MissingDependencyError: onnxruntime is missing, or an explicit device would not really be used.
    """
    ort = import_onnxruntime()
    providers = choose_providers(device, ort.get_available_providers())
    options = ort.SessionOptions()
    options.log_severity_level = 4  # failures reach the user as one line of ours, not as a log
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    limit_spinning(ort, options)
    # x86 without VNNI adds pairs of products in 16 bits, which saturate: take the slower kernel that does not (INT8)
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = ort.InferenceSession(
            str(path), options, providers=[(provider, _provider_options(provider)) for provider in providers]
        )
    except Exception as error:
        raise EngineError(f"{path}: onnxruntime {ort.__version__} cannot load it: {_first_line(error)}") from None
    session.disable_fallback()
    used = session.get_providers()[0]
    if used == providers[0]:
        return session, ()
    if device != "auto":
        raise MissingDependencyError(
            f"device {device!r} was asked for, but onnxruntime would run on {_devices(session.get_providers())}: "
            "its GPU libraries or the driver do not load; cinemae-doctor names what is missing, or use --device auto"
        )
    return session, (f"{DEVICE_OF[providers[0]]} is installed but does not work here: running on {DEVICE_OF[used]}",)


def limit_spinning(ort: Any, options: Any) -> None:
    """Bound the time that idle threads spin where onnxruntime supports a bound, else turn spinning off.

    By default idle threads spin without bound and occupy the cores that decoding needs: a scan on a busy machine takes
    1.3 to 1.6 times as long. Without spinning an idle machine loses 4 to 11 %, with the bound at most 5 %.
    """
    version = tuple(int(part) for part in ort.__version__.split(".")[:2])
    if version >= BOUNDED_SPINNING:
        options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
    else:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")


def _first_line(error: Exception) -> str:
    return shown((str(error).strip().splitlines() or [type(error).__name__])[0])


def check_ports(path: Path, session: Any, inputs: list[Port], outputs: list[Port]) -> None:
    """Check that a session has the expected inputs and outputs: names in order, types and shapes.

    Raises:
        EngineError: names the first difference.
    """
    for role, wanted, present in (("input", inputs, session.get_inputs()), ("output", outputs, session.get_outputs())):
        names = [port.name for port in present]
        if names != [port.name for port in wanted]:
            raise EngineError(
                f"{path}: its {role}s are {names}, expected {[p.name for p in wanted]}; export the engine again"
            )
        for port, actual in zip(wanted, present, strict=True):
            shape = list(actual.shape)
            fits = len(shape) == len(port.shape) and all(
                not isinstance(size, int) or size == want if want is not None else not isinstance(size, int)
                for size, want in zip(shape, port.shape, strict=True)
            )
            if actual.type != port.dtype or not fits:
                raise EngineError(
                    f"{path}: {role} {port.name!r} is {actual.type} {shape}, expected {port.dtype} "
                    f"{['any' if size is None else size for size in port.shape]}; export the engine again"
                )


def run_session(path: Path, session: Any, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Run a session.

    Args:
        path: the ONNX file, for the error message.
        session: an onnxruntime InferenceSession.
        outputs: names of the wanted outputs.
        feeds: input name -> array.

    Returns:
        The outputs in the order of their names.

    Raises:
        EngineError: onnxruntime fails.
    """
    try:
        return list(session.run(outputs, feeds))
    except Exception as error:
        raise EngineError(f"{path}: inference failed: {_first_line(error)}") from None


def checked_manifest(path: Path, kind: str) -> Manifest:
    """Check an ONNX file (kind, content hash, external weights, graph) and return its manifest.

    Args:
        path: the ONNX file.
        kind: the manifest's required `kind`, for example "fused".

    Raises:
        EngineError: the file is damaged, changed, foreign or of another kind.
    """
    manifest = read_manifest(path)
    if manifest.kind != kind:
        hint = "; give the folder that holds the three parts" if manifest.kind in ("encoder", "decoder", "head") else ""
        raise EngineError(f"{path}: is of kind {manifest.kind!r}, expected {kind!r}{hint}")
    check_content(path)
    check_external_data(path, manifest)
    check_graph(path, manifest)
    return manifest


class OnnxEngine:
    """A fused engine in onnxruntime. `infer` may run in several threads at once. Attributes: see `base.Engine`."""

    def __init__(self, path: Path, manifest: Manifest, session: Any, notes: tuple[str, ...]) -> None:
        self.path, self.manifest, self.notes = path, manifest, notes
        self._session: Any = session
        self.provider: str = session.get_providers()[0]

    def infer(self, images: np.ndarray) -> EngineOutput:
        """Score a batch.

        Args:
            images: uint8 [B, S, S, 3], RGB.

        Raises:
            EngineError: the engine is closed, or onnxruntime fails (out of memory, for instance).
            UsageError: another dtype or shape.
        """
        if self._session is None:
            raise EngineError(f"{self.path}: the engine is closed")
        feeds = {"images": checked_images(images, self.manifest)}
        logit, stats, lcas = run_session(self.path, self._session, ["logit", "stats", "lcas"], feeds)
        return EngineOutput(logit, stats, lcas)

    def close(self) -> None:
        """Release the session. A second call does nothing."""
        self._session = None


def open_engine(path: Path, device: str, threads: int | None) -> OnnxEngine:
    """Check and load a fused `.onnx` engine. Arguments and errors: see `load.load_engine`."""
    manifest = checked_manifest(path, "fused")
    session, notes = create_session(path, device, threads)
    size, n_patches = manifest.preprocess.crop, manifest.backbone.config.n_patches
    check_ports(
        path,
        session,
        [Port("images", "tensor(uint8)", (None, size, size, 3))],
        [
            Port("logit", "tensor(float)", (None,)),
            Port("stats", "tensor(float)", (None, 3)),
            Port("lcas", "tensor(float)", (None, n_patches)),
        ],
    )
    return OnnxEngine(path, manifest, session, notes)
