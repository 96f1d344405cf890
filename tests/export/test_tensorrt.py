"""TensorRT: the real parser and builder (RTX), names of the real bindings, the builder on a fake."""

import importlib.util
import platform
from dataclasses import replace
from pathlib import Path

import pytest
from cinemae.export.fused import export_fused
from cinemae.export.plan_check import Reference, batch_order, find_reference, write_reference
from cinemae.export.request import BuildOptions
from cinemae.export.tensorrt import build, build_plan
from cinemae.runtime.core.errors import EngineError, MissingDependencyError, ParityError, UsageError
from cinemae.runtime.engines.base import EngineOutput
from cinemae.runtime.engines.cuda.driver import Cuda, CudaDevice
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.tensorrt.engine import open_engine
from cinemae.runtime.engines.tensorrt.sidecar import check_machine, sidecar_path
from cinemae.runtime.engines.tensorrt.tensorrt_8 import float_types
from cuda_fakes import FakeCudaApi
from tensorrt_fakes import FakeTensorRt, batches

SHARED_API = (
    "num_io_tensors", "get_tensor_name", "get_tensor_shape", "get_tensor_dtype", "get_tensor_mode", "set_input_shape",
    "set_tensor_address", "execute_async_v3", "create_execution_context", "ExecutionContextAllocationStrategy",
    "USER_MANAGED", "set_device_memory", "update_device_memory_size_for_shapes", "set_optimization_profile_async",
    "num_optimization_profiles", "get_tensor_profile_shape", "ILogger", "deserialize_cuda_engine",
    "engine_host_code_allowed", "TensorIOMode", "parse_from_file", "num_errors", "get_error", "desc",
    "create_optimization_profile", "add_optimization_profile", "set_shape", "set_memory_pool_limit", "WORKSPACE",
    "create_timing_cache", "set_timing_cache", "get_timing_cache", "serialize", "hardware_compatibility_level",
    "AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY", "VERSION_COMPATIBLE", "TF32", "STRONGLY_TYPED", "clear_flag", "set_flag",
    "build_serialized_network", "create_builder_config", "create_network",
)
"""Every name of TensorRT that builder and backend use with versions 10 and 11."""

BUILDER_CALLS = ("create_network", "set_shape", "clear_flag", "set_flag")

GONE_IN_11 = (
    "OBEY_PRECISION_CONSTRAINTS", "EXPLICIT_BATCH", "PROFILE_SHARING_0806",
    "create_execution_context_without_device_memory",
)
"""Names for 8.6 alone; the code asks before it uses them."""


@pytest.fixture
def engine(tiny_fp16_engine):
    return tiny_fp16_engine


@pytest.fixture
def trt():
    return FakeTensorRt("10.3.0.26")


@pytest.fixture
def cuda():
    return Cuda(FakeCudaApi())


@pytest.fixture
def plan(engine, trt, cuda, tmp_path):
    path = tmp_path / "tiny.plan"
    build_plan(engine, path, batches(1, 2, 4), trt, cuda)
    trt.recorded = [call for call in trt.recorded if call[0] in BUILDER_CALLS]  # not those of the check after the build
    cuda.api.launches = cuda.api.captures = 0
    return path


@pytest.mark.skipif(not importlib.util.find_spec("tensorrt_bindings"), reason="needs tensorrt-cu13-bindings")
def test_every_name_exists_in_the_real_bindings():
    folder = Path(importlib.util.find_spec("tensorrt_bindings").origin).parent
    binary = (folder / "tensorrt.so").read_bytes()
    assert [name for name in SHARED_API if name.encode() + b"\0" not in binary] == []
    assert [name for name in GONE_IN_11 if b"\0" + name.encode() + b"\0" in binary] == []


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.slow
def test_real_parser_and_builder_accept_the_graph(precision, rtx, tiny_engine, tiny_fp16_engine):
    engine = tiny_engine if precision == "fp32" else tiny_fp16_engine
    assert len(build(rtx, engine, BuildOptions(), 64)) > 100_000


def test_real_parser_accepts_the_parts(rtx, tiny_parts):
    for path in sorted(tiny_parts.iterdir()):
        builder = rtx.Builder(rtx.Logger(rtx.Logger.ERROR))
        network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = rtx.OnnxParser(network, rtx.Logger(rtx.Logger.ERROR))
        accepted = parser.parse_from_file(str(path))
        assert accepted, (path.name, [parser.get_error(i).desc() for i in range(parser.num_errors)])


def test_builds_strongly_typed_with_the_profile_and_without_tf32(plan, trt):
    assert trt.calls("create_network") == [(1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED,)]
    assert trt.calls("set_shape") == [("images", *((batch, 64, 64, 3) for batch in sizes))
                                      for sizes in ((1, 2, 4), (1, 1, 1))]
    assert trt.calls("clear_flag") == [(trt.BuilderFlag.TF32,)]
    assert trt.calls("set_flag") == []


def test_a_version_without_the_deprecated_flag_is_not_taken_for_8(engine, cuda, tmp_path):
    """"Deprecated in TensorRT 11.0. Strongly typed mode is always enabled" (NvInfer.h 11.1:11469)."""
    trt = FakeTensorRt("12.0.0")
    del trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED, trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH
    build_plan(engine, tmp_path / "a.plan", batches(1, 2, 4), trt, cuda)
    assert trt.calls("create_network") == [(0,)]
    assert trt.calls("set_flag") == []


def test_tensorrt_8_takes_precisions_from_the_graph_and_obeys(engine, cuda, tmp_path):
    trt = FakeTensorRt("8.6.1")
    build_plan(engine, tmp_path / "a.plan", BuildOptions(), trt, cuda)
    assert trt.calls("create_network") == [(1 << trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH,)]
    assert trt.calls("set_preview_feature") == [(trt.PreviewFeature.PROFILE_SHARING_0806, True)]
    assert trt.calls("set_flag") == [(trt.BuilderFlag.FP16,), (trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS,)]
    types = float_types(engine)
    by_kind = {}
    for layer in trt.layers:
        by_kind.setdefault(layer.type, []).append(layer)
        if layer.precision is not None and layer.name != "(Unnamed)":
            assert layer.precision == types[layer.outputs[0].name]
            assert layer.output_types == dict.fromkeys(range(layer.num_outputs), layer.precision)
    assert {layer.precision for layer in by_kind["MatMul"]} == {trt.float16}
    for kind in ("LayerNormalization", "Softmax", "reduce", "ReduceMax", "ReduceMean", "ReduceSum", "Log", "Gemm"):
        assert {layer.precision for layer in by_kind[kind]} == {trt.float32}, kind
    for kind in ("shuffle", "gather", "slice", "concatenation", "cast", "index"):
        assert {layer.precision for layer in by_kind[kind]} == {None}, kind


def test_options_reach_the_builder(engine, trt, cuda, tmp_path):
    options = replace(batches(1, 1, 2), workspace=512, timing_cache=tmp_path / "cache",
                      hardware_compatibility="ampere_plus", version_compatible=True)
    sidecar = build_plan(engine, tmp_path / "a.plan", options, trt, cuda)
    assert trt.calls("set_memory_pool_limit") == [(trt.MemoryPoolType.WORKSPACE, 512 << 20)]
    assert trt.calls("set_flag") == [(trt.BuilderFlag.VERSION_COMPATIBLE,)]
    assert trt.config.hardware_compatibility_level == trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert (tmp_path / "cache").read_bytes() == b"timings"
    assert (sidecar.version_compatible, sidecar.hardware_compatibility) == (True, "ampere_plus")
    build_plan(engine, tmp_path / "a.plan", options, trt, cuda)
    assert trt.calls("create_timing_cache")[-1] == (b"timings",)


def test_unknown_compatibility_level_is_refused(engine, cuda, tmp_path):
    trt = FakeTensorRt("8.6.1")
    options = BuildOptions(hardware_compatibility="same_compute_capability")
    with pytest.raises(UsageError, match="no hardware compatibility level SAME_COMPUTE_CAPABILITY"):
        build_plan(engine, tmp_path / "a.plan", options, trt, cuda)


def test_a_jetson_is_a_platform_of_its_own_without_ampere_plus(engine, trt, cuda, tmp_path, monkeypatch):
    """Hardware compatibility does not exist "on NVIDIA DRIVE OS or JetPack" (TensorRT's documentation, 8.6 to 10)."""
    build_plan(engine, tmp_path / "a.plan", batches(1, 2, 4), trt, cuda)
    monkeypatch.setattr(platform, "release", lambda: "5.15.148-tegra")
    with pytest.raises(EngineError, match=r"built on .*, here is linux \S+ tegra; build it"):
        open_engine(tmp_path / "a.plan", "auto", None, trt, cuda)
    with pytest.raises(UsageError, match="a Jetson has no --hardware-compatibility"):
        build_plan(engine, tmp_path / "b.plan", BuildOptions(hardware_compatibility="ampere_plus"), trt, cuda)
    build_plan(engine, tmp_path / "a.plan", batches(1, 2, 4), trt, cuda)
    open_engine(tmp_path / "a.plan", "auto", None, trt, cuda).close()


def test_out_of_memory_says_what_to_lower(engine, cuda, tmp_path):
    trt = FakeTensorRt("10.3.0", fails="Requested 30 GB of memory, which is not available")
    with pytest.raises(EngineError, match=r"not available; lower --max-batch \(now 32\) or --workspace"):
        build_plan(engine, tmp_path / "a.plan", BuildOptions(), trt, cuda)
    assert not list(tmp_path.iterdir())


def test_no_gpu_is_one_clear_error(engine, trt, tmp_path):
    with pytest.raises(MissingDependencyError, match="no usable NVIDIA GPU"):
        build_plan(engine, tmp_path / "a.plan", BuildOptions(), trt, Cuda(FakeCudaApi(no_device=True)))


def test_damaged_plans_and_other_devices_are_refused(plan, trt, cuda):
    with pytest.raises(UsageError, match="runs on TensorRT only"):
        open_engine(plan, "cpu", None, trt, cuda)
    trt.loads = False
    with pytest.raises(EngineError, match=r"cinemae-export .*tiny-fp16.onnx --tensorrt --out .* --name tiny"):
        open_engine(plan, "auto", None, trt, cuda)
    plan.write_bytes(plan.read_bytes() + b"x")
    with pytest.raises(EngineError, match="does not match the hash"):
        open_engine(plan, "auto", None, trt, cuda)
    sidecar_path(plan).unlink()
    with pytest.raises(EngineError, match=r"tiny.plan.json is missing"):
        open_engine(plan, "auto", None, trt, cuda)


@pytest.mark.parametrize("version", ["10.14.1.48.post1", "10.0.0b6"])
def test_a_version_with_a_suffix_is_understood(version, engine, cuda, tmp_path, random_images):
    trt = FakeTensorRt(version)
    build_plan(engine, tmp_path / "a.plan", batches(1, 2, 4), trt, cuda)
    open_engine(tmp_path / "a.plan", "tensorrt", None, trt, cuda).close()


def test_a_plan_that_computes_something_else_is_not_written(engine, trt, cuda, tmp_path):
    trt.wrong = 1000.0  # in batches only
    with pytest.raises(ParityError, match="at batch 2 the plan differs from the reference"):
        build_plan(engine, tmp_path / "a.plan", batches(1, 2, 4), trt, cuda)
    assert not list(tmp_path.iterdir())
    assert cuda.api.live == set()


def test_every_batch_size_is_checked_after_every_kind_of_other(engine, trt, cuda, tmp_path):
    assert batch_order(1, 6) == [1, 2, 4, 6, 6, 1, 4, 2, 2, 4, 1, 6]
    assert batch_order(3, 3) == [3, 3, 3]
    build_plan(engine, tmp_path / "a.plan", batches(1, 2, 4), trt, cuda)
    assert {shape[0] for _, shape in trt.calls("set_input_shape")} == {1, 2, 4}


def test_the_reference_beside_the_engine_is_used_and_belongs_to_it(engine, trt, cuda, tmp_path):
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(engine.read_bytes())
    manifest = read_manifest(copy)
    computed = find_reference(copy, manifest)
    wrong = Reference(computed.images, EngineOutput(*(x + 1 for x in vars(computed.output).values())))
    write_reference(copy, "0" * 64, wrong)
    build_plan(copy, tmp_path / "a.plan", batches(1, 1, 2), trt, cuda)
    write_reference(copy, manifest.content_sha256, wrong)
    with pytest.raises(ParityError, match="differs from the reference"):
        build_plan(copy, tmp_path / "a.plan", batches(1, 1, 2), trt, cuda)


def test_a_plan_beside_another_engine_of_its_name_is_refused(engine, trt, cuda, tiny_detector, tiny_manifest, tmp_path):
    source, path = tmp_path / "mine.onnx", tmp_path / "mine.plan"
    source.write_bytes(engine.read_bytes())
    build_plan(source, path, batches(1, 2, 4), trt, cuda)
    open_engine(path, "auto", None, trt, cuda).close()
    export_fused(tiny_detector, tiny_manifest, source, "fp32")
    with pytest.raises(EngineError, match=r"built from another mine.onnx.*cinemae-export .*mine.onnx --tensorrt"):
        open_engine(path, "auto", None, trt, cuda)


@pytest.fixture(scope="module")
def sidecar(tiny_fp16_engine, tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "tiny.plan"
    return build_plan(tiny_fp16_engine, path, batches(1, 1, 1), FakeTensorRt("10.3.0.26"), Cuda(FakeCudaApi()))


@pytest.mark.parametrize(("update", "machine", "verdict"), [
    ({}, ("10.3.0", "Fake 4090", "8.9"), "runs"),
    ({}, ("10.3.0.30", "Fake 4090", "8.9"), "built by TensorRT 10.3.0.26"),
    ({}, ("10.3.1", "Fake 4090", "8.9"), "built by TensorRT 10.3.0.26"),
    ({}, ("10.4.0", "Fake 4090", "8.9"), "built by TensorRT 10.3.0.26"),
    ({}, ("11.0.0", "Fake 4090", "8.9"), "built by TensorRT"),
    ({"version_compatible": True}, ("10.9.0", "Fake 4090", "8.9"), "runs"),
    ({"version_compatible": True}, ("10.2.0", "Fake 4090", "8.9"), "built by TensorRT"),
    ({"version_compatible": True}, ("11.0.0", "Fake 4090", "8.9"), "runs"),
    ({"version_compatible": True}, ("12.0.0", "Fake 4090", "8.9"), "built by TensorRT"),
    ({"version_compatible": True, "tensorrt": "8.6.1"}, ("10.3.0", "Fake 4090", "8.9"), "runs"),
    ({"version_compatible": True, "tensorrt": "8.6.1"}, ("11.0.0", "Fake 4090", "8.9"), "built by TensorRT"),
    ({"version_compatible": True, "tensorrt": "11.0.0"}, ("10.16.1", "Fake 4090", "8.9"), "built by TensorRT"),
    ({"platform": "win32 AMD64"}, ("10.3.0", "Fake 4090", "8.9"), "built on win32 AMD64, here is linux"),
    ({}, ("10.3.0", "Fake L4", "8.9"), "warns"),
    ({}, ("10.3.0", "Fake A100", "8.0"), "built for compute capability 8.9"),
    ({"hardware_compatibility": "ampere_plus"}, ("10.3.0", "Fake A100", "8.0"), "warns"),
    ({"hardware_compatibility": "ampere_plus"}, ("10.3.0", "Fake T4", "7.5"), "built for compute capability"),
    ({"hardware_compatibility": "same_compute_capability"}, ("10.3.0", "Fake A100", "8.0"), "built for compute"),
])
def test_compatibility_table(sidecar, update, machine, verdict):
    """Versions: support matrix of TensorRT 11.4.1; in the standard runtime major, minor, patch and build must match
    (release properties of TensorRT 10.10.10 for DRIVE OS)."""
    plan, sidecar = Path("tiny.plan"), sidecar.model_copy(update=update)
    if verdict in ("runs", "warns"):
        assert len(check_machine(plan, sidecar, machine[0], CudaDevice(*machine[1:]))) == (verdict == "warns")
    else:
        with pytest.raises(EngineError, match=f"{verdict}.*cinemae-export"):
            check_machine(plan, sidecar, machine[0], CudaDevice(*machine[1:]))
