"""Carry out a request: export the checkpoint, print the parity table, build the plan and the Triton repository."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

from ..runtime.core.environment import pip_install
from ..runtime.core.errors import CinemaeError, EngineError, MissingDependencyError, UsageError
from ..runtime.core.manifest import Backbone
from ..runtime.engines.file.header import read_manifest
from ..runtime.engines.file.integrity import check_content
from ..runtime.engines.tensorrt.sidecar import PlanSidecar, plan_command
from ..runtime.scan.targets import check_writable
from ..train.fitting import checkpoint_folder
from .hub import figures_of, push, repository
from .parity import format_table, require
from .refusals import engine_licence, refuse_bundled
from .request import Request
from .triton import write_repository


def say(text: str) -> None:
    """Progress goes to stderr; stdout holds the parity table alone."""
    print(text, file=sys.stderr, flush=True)


def check(request: Request) -> None:
    """Check the files and folders that a request names, before torch is imported.

    Raises:
        UsageError: the source is neither a checkpoint nor an engine, or the bundled engine's name.
        ManifestError: the checkpoint's manifest is damaged.
        EngineError: the source engine is missing.
        MissingDependencyError: a package that an export needs is not installed.
        OutputError: a folder cannot be written to, or its path goes through a file.
    """
    for folder in filter(None, (request.out, request.triton, request.web)):
        check_writable(folder, folder)
    if request.push is not None:
        repository(request.push)
    if request.engine is not None:
        if not request.engine.is_file():
            raise EngineError(f"{request.engine}: no such engine file")
        return
    refuse_bundled(request.out / f"{request.name or 'cinemae'}.onnx")
    checkpoint = request.source or checkpoint_folder.last_checkpoint()
    backbone = checkpoint_folder.read_manifest(checkpoint).backbone
    engine_licence(backbone.joint_licence, request.licence)
    refuse_beside(backbone, request)
    check_packages("openvino" if request.bf16 else "cpu")


def refuse_beside(backbone: Backbone, request: Request) -> None:
    """Raise UsageError for what was not measured with a global encoder, where the weights hold one."""
    other = f"--{request.precision}" if request.precision not in ("fp32", "fp16") else ""
    given = [name for name in (other, "--parts" * request.parts, "--web" * (request.web is not None)) if name]
    if backbone.global_encoder and given:
        raise UsageError(
            f"{', '.join(given)}: was not measured with a global encoder, here {backbone.global_encoder.source}; leave "
            "it out: such an engine is float32 or --fp16, of one file, on ONNX Runtime and TensorRT"
        )


def check_packages(runs: str = "cpu") -> None:
    """Raise MissingDependencyError where a package that an export needs is not installed.

    Args:
        runs: the extra whose package runs the engine here.
    """
    for package in ("torch", "timm", "onnx", "onnxscript", "openvino" if runs == "openvino" else "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            install = pip_install("export,openvino") if runs == "openvino" else pip_install("export,cpu")
            raise MissingDependencyError(f"cinemae-export needs {package}: {install}")


def export_request(request: Request) -> None:
    """Export the checkpoint, or deploy the engine, that `request` names.

    Raises:
        UsageError: no checkpoint, or the bundled engine's name.
        ParityError: a file disagrees with eager PyTorch.
        MissingDependencyError: an extra is not installed, or TensorRT was asked for and finds no GPU.
        EngineError: a source engine or a build fails.
    """
    check(request)
    if request.engine is not None:
        deploy(request, request.engine)
        return
    from .checkpoint_export import export_checkpoint

    engine = request.out / f"{request.name or 'cinemae'}.onnx"
    rows, checkpoint = export_checkpoint(request, engine, say)
    print(format_table(rows), flush=True)
    require(rows)
    say(f"wrote {engine}; next: cinemae run PHOTOS --engine {shlex.quote(str(engine))}")
    deploy(request, engine, checkpoint)


def deploy(request: Request, engine: Path, checkpoint: Path | None = None) -> None:
    """Build the plan, the Triton repository and the site, and push, as far as `request` asks for it.

    Args:
        request: the command line.
        engine: the ONNX engine.
        checkpoint: folder that the engine was exported from.
    """
    manifest, name = read_manifest(engine), request.name or engine.stem
    refuse_beside(manifest.backbone, request)
    plan = request.out / f"{name}.plan"
    built: PlanSidecar | None = None
    if request.tensorrt or (request.tensorrt is None and manifest.precision == "fp16"):
        from .tensorrt import build_plan

        try:
            built = build_plan(engine, plan, request.build)
            say(f"wrote {plan} ({built.gpu}, TensorRT {built.tensorrt})")
        except CinemaeError as error:
            if request.tensorrt:
                raise
            say(f"no plan ({error}); where TensorRT finds a GPU: {plan_command(engine, plan)}")
    if request.triton is not None:
        say(f"wrote {write_repository(engine, request.triton, f'{name}_onnx', request.build.batch)}/")
        if built is not None:
            model = write_repository(plan, request.triton, f"{name}_plan")
            say(f"wrote {model}/; its container must hold TensorRT {built.tensorrt}, which built the plan")
    if request.web is not None:
        from .web.site import write_site

        write_site(engine, manifest, request.web, request.ort)
        say(f"wrote {request.web}/; next: python3 -m http.server --directory {shlex.quote(str(request.web))}")
    if request.push is not None:
        check_content(engine)
        pinned = push(request.push, engine, manifest, figures_of(engine, checkpoint), say)
        say(f"pushed; next: cinemae run PHOTOS --engine '{pinned}'")
