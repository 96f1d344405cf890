"""ONNX engine to TensorRT plan, on TensorRT 10 and 11 (and 8.6), with the sidecar that the runtime checks.

The network is strongly typed: the precision is what the graph says. TF32 is off: it would round the float32 parts
(LCAS, statistics, head) to 10 bits.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..runtime.core.environment import is_jetson, this_platform
from ..runtime.core.errors import EngineError, MissingDependencyError, UsageError
from ..runtime.core.files import file_sha256, write_bytes, write_text
from ..runtime.engines.cuda.buckets import profiles
from ..runtime.engines.cuda.driver import Cuda
from ..runtime.engines.onnx.engine import checked_manifest
from ..runtime.engines.tensorrt import tensorrt_8
from ..runtime.engines.tensorrt.engine import open_engine
from ..runtime.engines.tensorrt.library import collecting_logger, import_tensorrt, is_out_of_memory, reason
from ..runtime.engines.tensorrt.sidecar import PlanSidecar, numbers, sidecar_path
from .plan_check import check_outputs, find_reference
from .request import BuildOptions

FEEDBACK_SECONDS = 10.0
"""How often the elapsed time is reported while TensorRT builds (minutes for ViT-L)."""


def build_plan(
    engine: Path, plan: Path, options: BuildOptions, trt: Any = None, cuda: Cuda | None = None
) -> PlanSidecar:
    """Build a plan from a fused ONNX engine, open it, compare it with the reference, and only then write it.

    Args:
        engine: the ONNX file; `NAME.reference.npz` beside it is used where it is there.
        plan: the file to write, before its sidecar.
        options: how to build.
        trt: TensorRT's module; None imports it.
        cuda: the CUDA runtime; None imports it.

    Returns:
        The sidecar as written.

    Raises:
        EngineError: the engine is damaged, or TensorRT cannot parse, build or open it.
        ParityError: the plan computes something else than the engine.
        MissingDependencyError: no TensorRT, no GPU, or a GPU that this TensorRT does not serve.
        UsageError: an option this TensorRT does not have, or an INT8 engine.
    """
    manifest = checked_manifest(engine, "fused")
    if manifest.precision == "int8":
        raise UsageError(f"{engine}: INT8 is for onnxruntime's CPU; build a plan from the engine of --fp16")
    trt = trt or import_tensorrt()
    cuda = cuda or Cuda.load()
    gpu = cuda.device()
    reference = find_reference(engine, manifest)
    draft = PlanSidecar(
        manifest=manifest, tensorrt=".".join(map(str, numbers(trt.__version__))),  # without ".post1" and the like
        gpu=gpu.name, compute_capability=gpu.capability, platform=this_platform(),
        version_compatible=options.version_compatible, hardware_compatibility=options.hardware_compatibility,
        batch=options.batch, plan_sha256="0" * 64, source=engine.name, source_sha256=manifest.content_sha256,
        source_external=manifest.external_data,
    )
    serialized = build(trt, engine, options, manifest.preprocess.crop)
    plan.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".cinemae-export-", dir=plan.parent) as folder:
        scratch = Path(folder) / plan.name
        write_bytes(scratch, serialized)
        sidecar = draft.model_copy(update={"plan_sha256": file_sha256(scratch)})
        write_text(sidecar_path(scratch), sidecar.model_dump_json(indent=1))
        with open_engine(scratch, "tensorrt", None, trt, cuda) as opened:
            check_outputs(opened, reference, options.batch)
        scratch.replace(plan)
        sidecar_path(scratch).replace(sidecar_path(plan))
    return sidecar


def build(trt: Any, engine: Path, options: BuildOptions, size: int) -> bytes:
    """Parse and build; returns the serialized plan.

    Args:
        trt: TensorRT's module.
        engine: the ONNX file.
        options: how to build.
        size: side of an image.
    """
    logger = collecting_logger(trt)
    try:
        builder = trt.Builder(logger)
    except Exception as error:
        words = reason(logger, error)
        raise MissingDependencyError(f"TensorRT {trt.__version__} finds no usable GPU: {words}") from None
    network = tensorrt_8.create_network(trt, builder)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(engine)):
        problems = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise EngineError(f"{engine}: TensorRT {trt.__version__} cannot parse it: {problems}")
    config = configure(trt, builder, options, size)
    if tensorrt_8.is_8(trt):
        tensorrt_8.obey_types(trt, network, config, tensorrt_8.float_types(engine))
    if options.timing_cache is not None:
        load_timing_cache(config, options.timing_cache)
    with elapsed_time(f"TensorRT {trt.__version__} builds {engine.name}"):
        serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        words, fix = reason(logger), "run with the GPU free of other work, or try a later TensorRT"
        if is_out_of_memory(words):
            fix = f"lower --max-batch (now {options.max_batch}) or --workspace, or free GPU memory"
        raise EngineError(f"{engine}: TensorRT {trt.__version__} could not build it: {words}; {fix}")
    if options.timing_cache is not None:
        write_bytes(options.timing_cache, bytes(config.get_timing_cache().serialize()))
    return bytes(serialized)


def configure(trt: Any, builder: Any, options: BuildOptions, size: int) -> Any:
    """Builder configuration: profiles, memory, compatibility, no TF32."""
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatibility != "none":
        level = options.hardware_compatibility.upper()
        if is_jetson():
            raise UsageError("a Jetson has no --hardware-compatibility: build the plan there without it")
        if not hasattr(trt.HardwareCompatibilityLevel, level):
            raise UsageError(f"TensorRT {trt.__version__} has no hardware compatibility level {level}")
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, level)
    for batches in profiles(options.batch):
        profile = builder.create_optimization_profile()
        profile.set_shape("images", *((batch, size, size, 3) for batch in batches))
        config.add_optimization_profile(profile)
    return config


def load_timing_cache(config: Any, path: Path) -> None:
    """Set the timing cache from `path`; an empty one if the file is missing, or of another GPU or version."""
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


@contextmanager
def elapsed_time(what: str) -> Iterator[None]:
    """Say on stderr every few seconds how long `what` has been taking (the builder releases the interpreter's lock)."""
    stop = threading.Event()
    start = time.monotonic()

    def report() -> None:
        while not stop.wait(FEEDBACK_SECONDS):
            print(f"{what}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    print(f"{what}: done in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
