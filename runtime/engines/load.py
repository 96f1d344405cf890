"""`load_engine` picks the backend for a file or folder. Backends are imported only when they are used."""

from __future__ import annotations

from importlib import import_module
from os import PathLike
from pathlib import Path

from ..core.environment import check_device, quota_threads
from ..core.errors import EngineError, UsageError
from ..core.manifest import Manifest
from .base import PARTS, Engine
from .wrong_path import ENGINE, mistaken

BUNDLED_NAME = "cinemae-demo.onnx"


def bundled_path() -> Path:
    """Path of the demonstration engine that is installed with the package.

    Raises:
        EngineError: this installation has none.
    """
    from importlib.resources import files

    path = Path(str(files("cinemae.models") / BUNDLED_NAME))
    if not path.is_file():
        raise EngineError(f"{path}: the bundled engine is missing; reinstall cinemae or name an engine with --engine")
    return path


def resolve(path: str | PathLike[str] | None) -> Path:
    """The path of an engine: `path` itself, the bundled engine for None, or the download of an address on the hub.

    Raises:
        UsageError, MissingDependencyError: an address on the hub that cannot be used.
        EngineError: the path does not exist, cannot be fetched, or is a folder without the parts of an engine.
    """
    if path is None:
        return bundled_path()
    if isinstance(path, str) and path.startswith("hf://"):
        from .hub import hub_engine

        return hub_engine(path)
    path = Path(path)
    if not path.exists():
        raise EngineError(f"{path}: no such engine file")
    if path.is_dir() and not (path / PARTS[0]).is_file():
        if wrong := mistaken(path, ENGINE):
            raise EngineError(wrong)
        engines = sorted(file.name for file in path.iterdir() if file.suffix.lower() in (".onnx", ".plan"))
        found = f"name one of the engines in it: {', '.join(engines)}" if engines else "there is no engine in it"
        raise EngineError(f"{path}: is a folder, and as an engine in parts {PARTS[0]} is missing; {found}")
    return path


def read_engine_manifest(path: str | PathLike[str] | None = None) -> Manifest:
    """The validated manifest of an engine. Takes milliseconds: no backend is imported and no hash is computed.

    Args:
        path: as `load_engine`.

    Raises:
        EngineError: the file is missing, truncated, foreign or of an unknown kind.
        ManifestError: the manifest is invalid or of another schema version.
    """
    found = resolve(path)
    if found.is_dir():
        found /= PARTS[0]
    elif found.suffix.lower() == ".plan":
        from .tensorrt.sidecar import read_sidecar

        return read_sidecar(found).manifest
    _check_suffix(found)
    from .file.header import read_manifest

    return read_manifest(found)


def plan_batch(path: str | PathLike[str] | None = None) -> tuple[int, int, int] | None:
    """The smallest, best and largest batch of a plan, from its sidecar; None for other engines.

    Raises:
        EngineError: as `read_engine_manifest`.
    """
    found = resolve(path)
    if found.suffix.lower() != ".plan" or found.is_dir():
        return None
    from .tensorrt.sidecar import read_sidecar

    return read_sidecar(found).batch


def best_batch(path: str | PathLike[str] | None = None) -> int | None:
    """The batch that a plan was tuned for; None for other engines. Errors as `plan_batch`."""
    batch = plan_batch(path)
    return None if batch is None else batch[1]


def load_engine(
    path: str | PathLike[str] | None = None, device: str = "auto", threads: int | None = None,
    precision: str | None = None,
) -> Engine:
    """Check an engine (hash, manifest, signature) and load it.

    Args:
        path: an `.onnx` or `.plan` file, a folder with the three parts, an address on the Hugging Face Hub
            (`hf://org/repo/file.onnx@revision#sha256=HEX`), or None for the bundled engine.
        device: "auto" takes the best device that works and reports a fallback in the engine's `notes`; any other name
            is used or refused, never replaced. A bf16 engine runs in OpenVINO under "auto" and "cpu".
        threads: CPU threads of one inference; None: as many as a quota of control groups allows, else the backend
            chooses.
        precision: "bf16" computes a float32 engine in bfloat16, in OpenVINO; None: the engine's own.

    Raises:
        EngineError: the engine is missing, damaged, foreign, or cannot run on this machine.
        MissingDependencyError: the backend is not installed or the device does not work here.
        UsageError: an unknown device or a thread count below 1.
    """
    check_device(device)
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}")
    threads = quota_threads() if threads is None else threads
    found = resolve(path)
    is_onnx = found.suffix.lower() == ".onnx" and not found.is_dir()
    if device in ("auto", "cpu") and (precision or (is_onnx and read_engine_manifest(found).precision == "bf16")):
        device = "openvino"
    if device.startswith("openvino"):
        if not is_onnx:
            raise UsageError(f"{found}: device openvino and --precision are for fused .onnx engines")
        from .openvino import open_engine

        return open_engine(found, device, threads, precision)
    if precision:
        raise UsageError(f"--precision {precision} is computed by OpenVINO: leave out --device {device}")
    if found.is_dir():
        backend = "parts.engine"
    elif found.suffix.lower() == ".plan":
        backend = "tensorrt.engine"
    else:
        _check_suffix(found)
        backend = "onnx.engine"
    engine: Engine = import_module(f".{backend}", __package__).open_engine(found, device, threads)
    return engine


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() != ".onnx":
        wrong = mistaken(path, ENGINE)
        raise EngineError(
            wrong or f"{path}: not an engine; use an .onnx or .plan file, or a folder with {', '.join(PARTS)}"
        )
