"""What `cinemae-export` does: load the checkpoint, write what was asked for, print the parity table."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.errors import CinemaeError, MissingDependencyError
from ..runtime.install import pip_install
from .request import Request, check

if TYPE_CHECKING:
    from ..runtime.manifest import Manifest


def require_packages() -> None:
    """Raise MissingDependencyError with the pip line if an optional package is missing."""
    for package in ("torch", "timm", "onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(f"cinemae-export needs {package}: {pip_install('export,cpu')}")


def say(text: str) -> None:
    """Progress goes to stderr; stdout holds the parity table alone."""
    print(text, file=sys.stderr, flush=True)


def run(request: Request) -> None:
    """Export.

    Raises:
        UsageError: no checkpoint, options that do not fit together, or the bundled engine's name.
        ParityError: a file disagrees with eager PyTorch.
        MissingDependencyError: an extra is not installed, or TensorRT was asked for and finds no GPU.
        EngineError: a source engine or a build fails.
    """
    check(request)
    if request.source is not None and request.source.suffix == ".onnx":
        name = request.name or request.source.stem
        deploy(request, request.source, request.source, name)
        return
    require_packages()
    from .checkpoint_export import export_checkpoint

    name = request.name or "cinemae"
    exported = export_checkpoint(request, name, say)
    print(exported.table, flush=True)
    exported.require()
    say(f"wrote {exported.engine}; next: cinemae-run PHOTOS --engine {exported.engine}")
    deploy(request, exported.engine, exported.tensorrt_source, name)


def deploy(request: Request, engine: Path, tensorrt_source: Path, name: str) -> None:
    """The plan and the Triton repository."""
    from ..runtime.engines.integrity import check_content
    from ..runtime.engines.onnx_file import read_manifest
    from .triton import write_repository

    manifest: Manifest = read_manifest(engine)
    plan = request.out / f"{name}.plan"
    built = None
    if request.tensorrt or (request.tensorrt is None and tensorrt_is_there()):
        from .tensorrt import build_plan

        built = build_plan(tensorrt_source, plan, request.options())
        say(f"wrote {plan} ({built.gpu}, TensorRT {built.tensorrt})")
    if request.triton is not None:
        onnx_model = write_repository(
            engine, manifest, check_content(engine), request.triton, f"{name}_onnx", request.batch
        )
        say(f"wrote {onnx_model}/")
        if built is not None:
            plan_model = write_repository(
                plan, manifest, built.plan_sha256, request.triton, f"{name}_plan", request.batch
            )
            say(f"wrote {plan_model}/")


def tensorrt_is_there() -> bool:
    """Whether TensorRT and a GPU can be used, without asking for them."""
    if importlib.util.find_spec("tensorrt") is None:
        return False
    from ..runtime.engines.cuda import Cuda
    from ..runtime.engines.tensorrt import import_tensorrt

    try:
        import_tensorrt()
        Cuda.load().device()
    except CinemaeError:
        return False
    return True
