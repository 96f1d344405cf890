"""Carry out a request: export the checkpoint, print the parity table, build the plan and the Triton repository."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.core.environment import pip_install
from ..runtime.core.errors import CinemaeError, MissingDependencyError
from .request import BuildOptions, Request, check

if TYPE_CHECKING:
    from ..runtime.core.manifest import Manifest
    from ..runtime.engines.tensorrt.sidecar import PlanSidecar


def require_packages() -> None:
    """Raise MissingDependencyError with the pip line if an optional package is missing."""
    for package in ("torch", "timm", "onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(f"cinemae-export needs {package}: {pip_install('export,cpu')}")


def say(text: str) -> None:
    """Progress goes to stderr; stdout holds the parity table alone."""
    print(text, file=sys.stderr, flush=True)


def export_request(request: Request) -> None:
    """Export the checkpoint, or deploy the engine, that `request` names.

    Raises:
        UsageError: no checkpoint, options that do not fit together, or the bundled engine's name.
        ParityError: a file disagrees with eager PyTorch.
        MissingDependencyError: an extra is not installed, or TensorRT was asked for and finds no GPU.
        EngineError: a source engine or a build fails.
    """
    check(request)
    if request.source is not None and request.from_engine:
        name = request.name or request.source.stem
        deploy(request, request.source, name)
        return
    require_packages()
    from .checkpoint_export import export_checkpoint

    name = request.name or "cinemae"
    exported = export_checkpoint(request, name, say)
    print(exported.table, flush=True)
    exported.require()
    say(f"wrote {exported.engine}; next: cinemae-run PHOTOS --engine {exported.engine}")
    deploy(request, exported.engine, name, exported.checkpoint)


def deploy(request: Request, engine: Path, name: str, checkpoint: Path | None = None) -> None:
    """Build the plan, the Triton repository and the site, and push, as far as `request` asks for it.

    Args:
        request: the command line.
        engine: the ONNX engine.
        name: file name of the plan, and stem of the model names in Triton.
        checkpoint: folder that the engine was exported from.
    """
    from ..runtime.engines.file.header import read_manifest
    from ..runtime.engines.file.integrity import check_content
    from ..runtime.engines.tensorrt.sidecar import plan_command
    from .triton import write_repository

    manifest: Manifest = read_manifest(engine)
    plan = request.out / f"{name}.plan"
    built: PlanSidecar | None = None
    if request.tensorrt or (request.tensorrt is None and manifest.precision == "fp16"):
        try:
            built = make_plan(engine, plan, request.build)
        except CinemaeError as error:
            if request.tensorrt:
                raise
            say(f"no plan ({error}); where TensorRT finds a GPU: {plan_command(engine, plan)}")
    if request.triton is not None:
        onnx_model = write_repository(
            engine, manifest, check_content(engine), request.triton, f"{name}_onnx", request.build.batch
        )
        say(f"wrote {onnx_model}/")
        if built is not None:
            plan_model = write_repository(
                plan, built.manifest, built.plan_sha256, request.triton, f"{name}_plan", request.build.batch,
                built.tensorrt,
            )
            say(f"wrote {plan_model}/; its container must hold TensorRT {built.tensorrt}, which built the plan")
    if request.web is not None:
        from .web.site import write_site

        write_site(engine, manifest, request.web, request.ort)
        say(f"wrote {request.web}/; next: python3 -m http.server --directory {request.web}")
    if request.push is not None:
        from .hub import figures_of, push

        check_content(engine)
        pinned = push(request.push, engine, manifest, figures_of(engine, checkpoint), say)
        say(f"pushed; next: cinemae-run PHOTOS --engine '{pinned}'")


def make_plan(source: Path, plan: Path, options: BuildOptions) -> PlanSidecar:
    """Build the plan and say so."""
    from .tensorrt import build_plan

    built = build_plan(source, plan, options)
    say(f"wrote {plan} ({built.gpu}, TensorRT {built.tensorrt})")
    return built
