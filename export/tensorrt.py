"""ONNX engine to TensorRT plan, on TensorRT 8.6, 10 and 11, with the sidecar the runtime checks.

Where TensorRT knows strongly typed networks (10 and 11; 11 knows nothing else) the precision is what the graph says.
8.6 does not: there every layer gets the type that its tensors have in the ONNX graph, and the builder must obey.
TF32 is off: it would round the float32 parts (LCAS, statistics, head) to 10 bits.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..runtime.core.environment import pip_packages
from ..runtime.core.errors import EngineError, MissingDependencyError, UsageError
from ..runtime.core.files import file_sha256, write_bytes, write_text
from ..runtime.core.manifest import Manifest
from ..runtime.engines.cuda.buckets import profiles
from ..runtime.engines.cuda.driver import Cuda
from ..runtime.engines.onnx.engine import checked_manifest
from ..runtime.engines.tensorrt.engine import open_engine
from ..runtime.engines.tensorrt.library import collecting_logger, import_tensorrt, is_out_of_memory, reason
from ..runtime.engines.tensorrt.sidecar import PlanSidecar, numbers, sidecar_path
from .plan_check import check_outputs, find_reference
from .request import BuildOptions

FREE_LAYERS = frozenset((
    "CONSTANT", "CAST", "IDENTITY", "SHAPE", "SHUFFLE", "SLICE", "CONCATENATION", "GATHER", "QUANTIZE", "DEQUANTIZE",
))
"""Layers of 8.6 that move values without computing: their type follows from what they move, setting it is refused."""

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
        UsageError: an option this TensorRT does not have.
    """
    manifest = checked_manifest(engine, "fused")
    source = manifest.content_sha256
    trt = trt or import_tensorrt()
    cuda = cuda or Cuda.load()
    gpu = cuda.device()
    reference = find_reference(engine, manifest, source)
    draft = PlanSidecar(
        manifest=manifest, tensorrt=".".join(map(str, numbers(trt.__version__))),  # without ".post1" and the like
        gpu=gpu.name, compute_capability=gpu.capability,
        version_compatible=options.version_compatible, hardware_compatibility=options.hardware_compatibility,
        batch=options.batch, plan_sha256="0" * 64, source=engine.name, source_sha256=source,
        source_external=manifest.external_data,
    )
    serialized = build(trt, collecting_logger(trt), engine, options, manifest)
    plan.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".cinemae-export-", dir=plan.parent) as folder:
        scratch = Path(folder) / plan.name
        write_bytes(scratch, serialized)
        sidecar = draft.model_copy(update={"plan_sha256": file_sha256(scratch)})
        write_text(sidecar_path(scratch), sidecar.model_dump_json(indent=1))
        opened = open_engine(scratch, "tensorrt", None, trt, cuda)
        try:
            check_outputs(opened, reference, options.batch)
        finally:
            opened.close()
        scratch.replace(plan)
        sidecar_path(scratch).replace(sidecar_path(plan))
    return sidecar


def build(trt: Any, logger: Any, engine: Path, options: BuildOptions, manifest: Manifest) -> bytes:
    """Parse and build; returns the serialized plan."""
    try:
        builder = trt.Builder(logger)
    except Exception as error:
        words = reason(logger, error)
        raise MissingDependencyError(f"TensorRT {trt.__version__} finds no usable GPU: {words}") from None
    strongly_typed = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    flag = "STRONGLY_TYPED" if strongly_typed else "EXPLICIT_BATCH"
    network = builder.create_network(1 << int(getattr(trt.NetworkDefinitionCreationFlag, flag)))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(engine)):
        problems = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise EngineError(f"{engine}: TensorRT {trt.__version__} cannot parse it: {problems}")
    config = configure(trt, builder, options, manifest.preprocess.crop)
    if not strongly_typed:
        obey_types(trt, network, config, float_types(engine), int8=manifest.precision == "int8")
    cache = load_timing_cache(config, options.timing_cache)
    with elapsed_time(f"TensorRT {trt.__version__} builds {engine.name}"):
        serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise build_error(engine, trt, logger, options)
    if options.timing_cache is not None and cache is not None:
        write_bytes(options.timing_cache, bytes(config.get_timing_cache().serialize()))
    return bytes(serialized)


def configure(trt: Any, builder: Any, options: BuildOptions, size: int) -> Any:
    """Builder configuration: profiles, memory, compatibility, no TF32."""
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatibility != "none":
        level = options.hardware_compatibility.upper()
        if not hasattr(trt.HardwareCompatibilityLevel, level):
            raise UsageError(f"TensorRT {trt.__version__} has no hardware compatibility level {level}")
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, level)
    for batches in profiles(options.batch):
        profile = builder.create_optimization_profile()
        profile.set_shape("images", *((batch, size, size, 3) for batch in batches))
        config.add_optimization_profile(profile)
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        # 8.6 refuses a second context of a profile without; later versions always allow it (NvInfer.h, PreviewFeature)
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    return config


def float_types(engine: Path) -> dict[str, str]:
    """Type of every float tensor of an ONNX file, "float32" or "float16", and "" of the others, by shape inference.

    The weights' values are not read.

    Raises:
        MissingDependencyError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise MissingDependencyError(f"TensorRT 8.6 needs the types of the graph: {pip_packages('onnx')}") from None
    model = onnx.load(str(engine), load_external_data=False)
    constants = [onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer]
    del model.graph.initializer[:]
    model.graph.input.extend(constants)
    graph = onnx.shape_inference.infer_shapes(model).graph
    names = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.FLOAT16: "float16"}
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: names.get(value.type.tensor_type.elem_type, "") for value in values}


def obey_types(trt: Any, network: Any, config: Any, types: Mapping[str, str], int8: bool) -> None:
    """TensorRT 8.6: give every computing layer the float type of its tensors in the ONNX graph, and require it.

    Before the build TensorRT says float32 of every float tensor (`ILayer::getOutputType` in NvInfer.h 8.6.1, issue
    3435), so the types come from the graph. The parser names the last layer of an ONNX node's output after the graph's
    tensor; layers before it that the graph does not name belong to the same node.

    Args:
        trt: TensorRT's module.
        network: as parsed.
        config: of the builder.
        types: tensor -> "float32", "float16" or "".
        int8: whether the graph holds QuantizeLinear and DequantizeLinear.
    """
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    if int8:
        config.set_flag(trt.BuilderFlag.INT8)
    free = {getattr(trt.LayerType, name) for name in FREE_LAYERS if hasattr(trt.LayerType, name)}
    found = ""
    for index in reversed(range(network.num_layers)):
        layer = network.get_layer(index)
        outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
        found = next((types[output.name] for output in outputs if output.name in types), found)
        if found and layer.type not in free and all(output.dtype == trt.float32 for output in outputs):
            layer.precision = getattr(trt, found)
            for i in range(layer.num_outputs):
                layer.set_output_type(i, getattr(trt, found))


def load_timing_cache(config: Any, path: Path | None) -> Any:
    """Set the timing cache from `path` (empty if missing, or of another GPU or version); None without one."""
    if path is None:
        return None
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def build_error(engine: Path, trt: Any, logger: Any, options: BuildOptions) -> EngineError:
    """What went wrong, with the fix where TensorRT's words show one."""
    words = reason(logger)
    fix = "run with the GPU free of other work"
    if is_out_of_memory(words):
        fix = f"lower --max-batch (now {options.batch[2]}) or --workspace, or free GPU memory"
    elif not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        fix = "a later TensorRT may build it"
    return EngineError(f"{engine}: TensorRT {trt.__version__} could not build it: {words}; {fix}")


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
