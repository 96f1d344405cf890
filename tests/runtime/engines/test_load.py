"""Engines are checked before use: damage, edits and foreign files give one clear line. Devices are never replaced."""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from cinemae.runtime.core.errors import EngineError, ManifestError, MissingDependencyError, UsageError
from cinemae.runtime.core.files import file_sha256
from cinemae.runtime.core.manifest import METADATA_KEY, Manifest
from cinemae.runtime.core.masks import draw_visible
from cinemae.runtime.engines.file.header import read_manifest, read_onnx
from cinemae.runtime.engines.file.integrity import HASH_FIELD, check_content, hashes, seal
from cinemae.runtime.engines.load import bundled_path, load_engine, read_engine_manifest
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from cinemae.runtime.engines.onnx.session import CPU, CUDA, TENSORRT, choose_providers

BATCH_TOLERANCE = 1e-5  # a larger matrix product may sum in another order
FUSED_AGAINST_PARTS = 1e-3  # the tolerance of the parity table


@pytest.fixture
def copy(tiny_engine, tmp_path):
    return Path(shutil.copy(tiny_engine, tmp_path / "copy.onnx"))


def edit(path, change, reseal=True):
    """Apply `change` to the ONNX model in `path`, write it and seal it again, as a foreign exporter would."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    if reseal:
        seal(path)


def edit_manifest(path, old, new, reseal=True):
    def change(model):
        (entry,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
        assert old in entry.value
        entry.value = entry.value.replace(old, new)

    edit(path, change, reseal)


def test_batch_gives_what_singles_give(tiny_engine, random_images):
    engine = load_engine(tiny_engine, "cpu", threads=1)
    batch = engine.infer(random_images)
    assert batch.logit.shape == (7,)
    assert batch.stats.shape == (7, 3)
    assert batch.lcas.shape == (7, 16)
    assert {array.dtype for array in (batch.logit, batch.stats, batch.lcas)} == {np.dtype("float32")}
    for i in range(7):
        single = engine.infer(random_images[i : i + 1])
        np.testing.assert_allclose(single.logit[0], batch.logit[i], atol=BATCH_TOLERANCE)
        np.testing.assert_allclose(single.lcas[0], batch.lcas[i], rtol=BATCH_TOLERANCE)


def test_parts_agree_with_fused_and_take_other_masks(tiny_engine, tiny_parts, random_images):
    fused, parts = load_engine(tiny_engine), load_engine(tiny_parts)
    assert parts.manifest.masks == fused.manifest.masks
    a, b = fused.infer(random_images), parts.infer(random_images)
    np.testing.assert_allclose(a.logit, b.logit, atol=FUSED_AGAINST_PARTS)
    np.testing.assert_allclose(a.lcas, b.lcas, rtol=FUSED_AGAINST_PARTS, atol=FUSED_AGAINST_PARTS)
    five = draw_visible(16, 5, "independent", seed=3)
    other = parts.infer(random_images, five)
    assert other.logit.shape == (7,)
    assert not np.allclose(other.stats, b.stats)
    np.testing.assert_array_equal(parts.infer(random_images, five[:, ::-1]).logit, other.logit)
    one = parts.infer(random_images, five[:1])
    assert (one.stats[:, 2] == 0).all()
    assert np.isnan(one.lcas[:, five[0]]).all()


@pytest.mark.parametrize(
    "visible", [np.zeros((2, 4)), np.zeros((0, 4), int), np.full((1, 2), 16), np.array([[1, 1]]), np.arange(16)[None]]
)
def test_parts_refuse_masks_that_make_no_sense(tiny_parts, random_images, visible):
    with pytest.raises(UsageError):
        load_engine(tiny_parts).infer(random_images, visible)


def test_parts_of_two_exports_do_not_mix(tiny_parts, tmp_path):
    folder = shutil.copytree(tiny_parts, tmp_path / "mixed")
    edit_manifest(folder / "head.onnx", '"n_ai":0', '"n_ai":1')
    with pytest.raises(EngineError, match=r"another export.*calibration"):
        load_engine(folder)
    (folder / "decoder.onnx").unlink()
    with pytest.raises(EngineError, match=r"decoder\.onnx is missing"):
        load_engine(folder)
    with pytest.raises(EngineError, match="give the folder"):
        load_engine(tiny_parts / "head.onnx")


def test_content_hash_follows_its_definition(tiny_engine):
    data = tiny_engine.read_bytes()
    at = data.index(HASH_FIELD) + len(HASH_FIELD)
    expected = hashlib.sha256(data[:at] + b"0" * 64 + data[at + 64 :]).hexdigest()
    assert hashes(tiny_engine)[0] == expected == check_content(tiny_engine)
    assert read_manifest(tiny_engine).content_sha256 == expected


@pytest.mark.parametrize("where", [0.001, 0.2, 0.5, 0.8, 0.999])
def test_one_flipped_bit_is_found(copy, where):
    data = bytearray(copy.read_bytes())
    data[int(len(data) * where)] ^= 1
    copy.write_bytes(data)
    with pytest.raises(EngineError):
        load_engine(copy)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_truncated(copy, share):
    data = copy.read_bytes()
    copy.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(EngineError, match=r"empty|truncated"):
        load_engine(copy)


def test_foreign_files(tmp_path, tiny_engine):
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    with pytest.raises(EngineError, match="not an ONNX file"):
        load_engine(foreign)
    shutil.copy(tiny_engine, foreign)
    edit(foreign, lambda model: model.ClearField("metadata_props"), reseal=False)
    with pytest.raises(EngineError, match="without a CINEMAE manifest"):
        load_engine(foreign)
    for name, message in (("gone.onnx", "no such engine"), ("model.pt", "not an engine")):
        if name == "model.pt":
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(EngineError, match=message):
            load_engine(tmp_path / name)
    with pytest.raises(EngineError, match=r"a folder, .* encoder\.onnx is missing; name one of .*: foreign\.onnx"):
        load_engine(tmp_path)
    foreign.unlink()
    with pytest.raises(EngineError, match=r"encoder\.onnx is missing; there is no engine in it"):
        load_engine(tmp_path)


def rename_input(model):
    model.graph.input[0].name = "pictures"
    for node in model.graph.node:
        node.input[:] = ["pictures" if name == "images" else name for name in node.input]


def resize_input(axis, size):
    return lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[axis], "dim_value", size)


@pytest.mark.parametrize(("change", "message"), [
    (lambda model: setattr(model.opset_import[0], "version", 9), "opset 9"),
    (rename_input, r"inputs are \['pictures'\]"),
    (resize_input(1, 32), None),
    (resize_input(0, 1), "export the engine again"),
    (lambda model: setattr(model.graph.node[0], "op_type", "LayerNormalization"), "cannot load it"),
])
def test_other_opset_signature_and_graph(copy, change, message):
    edit(copy, change)
    with pytest.raises(EngineError, match=message):
        load_engine(copy)


def test_other_schema(copy):
    edit_manifest(copy, '"schema_version":1', '"schema_version":2')
    with pytest.raises(ManifestError, match="schema 2"):
        load_engine(copy)


def test_manifest_cannot_write_to_the_terminal(tiny_manifest):
    """Found by fuzzing: a field name with a newline or an escape sequence came out as it was."""
    text = tiny_manifest.to_json()
    hostile = text.replace('"lambda_"', json.dumps("lamb\nda\x1b[31m" + "x" * 5000))
    with pytest.raises(ManifestError, match=r"lamb\\nda\\u001b\[31mx") as caught:
        Manifest.from_json(hostile, "x.onnx")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(text.replace('"schema_version":1', '"schema_version":' + json.dumps("2\n" * 999)), "x.onnx")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_external_data_is_checked(copy, tmp_path):
    weights = tmp_path / "w.data"
    weights.write_bytes(b"weights")
    entry = f'"external_data":{{"w.data":"{file_sha256(weights)}"}}'
    edit_manifest(copy, '"external_data":{}', entry)
    assert load_engine(copy).provider == CPU
    weights.write_bytes(b"Weights")
    with pytest.raises(EngineError, match=r"w\.data.*does not match"):
        load_engine(copy)
    weights.unlink()
    with pytest.raises(EngineError, match="missing"):
        load_engine(copy)


def test_devices():
    assert choose_providers("auto", [TENSORRT, CUDA, CPU]) == [CUDA, CPU]
    assert choose_providers("auto", [CPU]) == [CPU]
    assert choose_providers("tensorrt", [TENSORRT, CUDA, CPU])[0] == TENSORRT
    assert choose_providers("cpu", [CUDA, CPU]) == [CPU]
    with pytest.raises(MissingDependencyError, match="offers cpu"):
        choose_providers("cuda", [CPU])


def test_explicit_device_is_never_replaced(tiny_engine, monkeypatch):
    """onnxruntime-gpu without working CUDA libraries lists the provider and then silently makes a CPU session."""
    onnxruntime = import_onnxruntime()
    real = onnxruntime.InferenceSession

    def session(path, options, providers, **kwargs):
        return real(path, options, providers=[CPU])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with pytest.raises(MissingDependencyError, match="would run on cpu"):
        load_engine(tiny_engine, "cuda")
    engine = load_engine(tiny_engine, "auto")
    assert engine.provider == CPU
    assert engine.notes == ("cuda is installed but does not work here: running on cpu",)


def test_missing_and_broken_onnxruntime(monkeypatch):
    for module, message in ((None, "pip install"), (ModuleType("onnxruntime"), "exactly one")):
        monkeypatch.setitem(sys.modules, "onnxruntime", module)
        with pytest.raises(MissingDependencyError, match=message):
            import_onnxruntime()


def test_usage_errors_and_closing(tiny_engine, random_images):
    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        load_engine(tiny_engine, "gpu")
    with pytest.raises(UsageError, match="threads"):
        load_engine(tiny_engine, threads=0)
    engine = load_engine(tiny_engine)
    for wrong in (random_images[0], random_images.astype(np.float32), random_images[:, :32]):
        with pytest.raises(UsageError, match="uint8"):
            engine.infer(wrong)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(random_images)


def test_manifest_is_read_without_a_session(tiny_engine, tiny_parts, tiny_manifest):
    assert read_engine_manifest(tiny_engine).masks == tiny_manifest.masks
    assert read_engine_manifest(tiny_parts).kind == "encoder"
    metadata, opsets = read_onnx(tiny_engine)
    model = onnx.load(tiny_engine)
    assert metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert opsets == {entry.domain: entry.version for entry in model.opset_import}


def test_bundled_engine_is_named_when_missing(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    with pytest.raises(EngineError, match="bundled engine is missing"):
        bundled_path()
