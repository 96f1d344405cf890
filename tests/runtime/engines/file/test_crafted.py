"""Engines made to harm are refused in one line before a backend sees them.

The fields follow onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) and the rules for external data
(https://onnx.ai/onnx/repo-docs/ExternalData.html): a location is relative to the model's folder, without "..".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import get_args

import numpy as np
import onnx
import pytest
import torch
from cinemae.runtime.core.errors import EngineError, ExitCode
from cinemae.runtime.core.files import file_sha256
from cinemae.runtime.core.manifest import METADATA_KEY, Fusion
from cinemae.runtime.engines.file import header
from cinemae.runtime.engines.file.graph import FUSED_OPERATORS, check_graph
from cinemae.runtime.engines.file.header import MAX_METADATA_BYTES
from cinemae.runtime.engines.file.integrity import seal
from cinemae.runtime.engines.load import bundled_path, load_engine, read_engine_manifest
from onnx import TensorProto, helper
from refusals import refusal

ZEROS = "0" * 64
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs sparse files and limits of memory")


def crafted(tiny_engine, folder, change, external=()):
    """`tiny_engine` after `change(model)`, its manifest listing the files `external`, resealed as an attacker would."""
    model = onnx.load(tiny_engine)
    change(model)
    (entry,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
    manifest = json.loads(entry.value)
    manifest["external_data"] = {name: file_sha256(folder / name) for name in external}
    entry.value = json.dumps(manifest, separators=(",", ":"))
    path = folder / "crafted.onnx"
    path.write_bytes(model.SerializeToString())
    seal(path)
    return path


def move_out(model, location, tensor=None):
    """Let the data of a weight lie in another file."""
    tensor = tensor or max(model.graph.initializer, key=lambda weight: len(weight.raw_data))
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret", "sub/w", "a\\b", "", "..", ".", "w\x1b[31m\n", "w\0"])
def test_weights_outside_the_folder(tiny_engine, tmp_path, location):
    (tmp_path / "secret").write_bytes(bytes(1 << 16))
    folder = tmp_path / "engine"
    folder.mkdir()
    path = crafted(tiny_engine, folder, lambda model: move_out(model, location))
    assert "not a plain file name" in refusal(path)


def test_weights_that_the_manifest_does_not_list(tiny_engine, tmp_path):
    (tmp_path / "w.data").write_bytes(bytes(1 << 20))
    unlisted = crafted(tiny_engine, tmp_path, lambda model: move_out(model, "w.data"))
    assert "'w.data'" in refusal(unlisted)
    listed = crafted(tiny_engine, tmp_path, lambda model: move_out(model, "w.data"), external=["w.data"])
    assert load_engine(listed, "cpu").infer(np.zeros((1, 64, 64, 3), np.uint8)).logit.shape == (1,)


def test_weights_hidden_in_an_attribute(tiny_engine, tmp_path):
    def change(model):
        tensor = TensorProto(name="v", data_type=TensorProto.FLOAT, dims=[4], raw_data=bytes(16))
        move_out(model, "../secret", tensor)
        model.graph.node.append(helper.make_node("Constant", [], ["hidden"], value=tensor))

    assert "not a plain file name" in refusal(crafted(tiny_engine, tmp_path, change))


def body():
    """A subgraph for If, Loop and Scan."""
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    return helper.make_graph([helper.make_node("Identity", ["c0"], ["c"])], "body", [], [condition])


@pytest.mark.parametrize(
    ("node", "named"),
    [
        (helper.make_node("Loop", ["", ""], ["x"], body=body()), "Loop"),
        (helper.make_node("Scan", ["images"], ["x"], body=body(), num_scan_inputs=1), "Scan"),
        (helper.make_node("If", ["c"], ["x"], then_branch=body(), else_branch=body()), "If"),
        (helper.make_node("Loop", ["", ""], ["x"]), "Loop"),
        (helper.make_node("Identity", ["images"], ["x"], body=body()), "Identity"),
        (helper.make_node("NonZero", ["images"], ["x"]), "NonZero"),
        (helper.make_node("Add", ["images", "images"], ["x"], domain="evil.domain"), "evil.domain.Add"),
        (helper.make_node("PyOp", ["images"], ["x"], domain="com.microsoft"), "com.microsoft.PyOp"),
        (helper.make_node("EPContext", [], ["x"], domain="com.microsoft"), "com.microsoft.EPContext"),
        (helper.make_node("Expand", ["images", "s"], ["x"]), "Expand"),
        (helper.make_node("A\n\x1b[31m" + "B" * 5000, ["images"], ["x"]), "A"),
        (helper.make_node("", ["images"], ["x"]), "operator ''"),
    ],
)
def test_operators_that_no_export_writes(tiny_engine, tmp_path, node, named):
    message = refusal(crafted(tiny_engine, tmp_path, lambda model: model.graph.node.append(node)))
    assert named in message
    assert "cinemae-export" in message


def test_functions_training_and_sparse_weights(tiny_engine, tmp_path):
    def function(model):
        nodes = [helper.make_node("Identity", ["x"], ["y"])]
        made = helper.make_function("", "Add", ["x"], ["y"], nodes, [helper.make_opsetid("", 17)])
        model.functions.append(made)

    def sparse(model):
        values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
        indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))

    for change in (function, lambda model: model.training_info.add(), sparse):
        assert "no engine of this project" in refusal(crafted(tiny_engine, tmp_path, change))


def varint(value: int) -> bytes:
    """Protobuf's base-128 integer."""
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def in_little_memory(path) -> subprocess.CompletedProcess[str]:
    """What is checked before the hash and a session, in a process that may use 1 GiB."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom cinemae.runtime.core.errors import EngineError\n"
        "from cinemae.runtime.engines.load import read_engine_manifest\n"
        "from cinemae.runtime.engines.file.graph import check_graph\n"
        "try:\n    check_graph(Path(sys.argv[1]), read_engine_manifest(sys.argv[1]))\n"
        "except EngineError as error:\n    print(error); sys.exit(error.exit_code)\n"
    )
    def limits():
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))

    command = [sys.executable, "-c", code, str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=limits, env=environment, timeout=120)


@linux
@pytest.mark.parametrize("field", [7, 14, 8])
def test_a_length_of_gigabytes_is_not_read(tmp_path, field):
    """A graph, a metadata entry and an opset of 3 GiB, mostly a hole: the first is skipped, the others refused."""
    path, size = tmp_path / "bomb.onnx", 3 << 30
    path.write_bytes(b"\x08\x08" + varint(field << 3 | 2) + varint(size))
    os.truncate(path, path.stat().st_size + size)
    done = in_little_memory(path)
    assert done.returncode == ExitCode.ENGINE_OR_ENVIRONMENT, done.stderr
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@linux
def test_gigabytes_of_weights_are_not_read(tiny_engine, tmp_path):
    """An engine with one weight of 3 GiB, a hole, in its graph."""
    size, path = 3 << 30, tmp_path / "large.onnx"
    rest = onnx.load(tiny_engine)
    nodes = onnx.GraphProto(node=rest.graph.node).SerializeToString()
    rest.ClearField("graph")
    weight = b"\x4a" + varint(size)  # raw_data, field 9 of a TensorProto
    tensor = b"\x2a" + varint(len(weight) + size) + weight  # initializer, field 5 of a GraphProto
    start = b"\x3a" + varint(len(nodes) + len(tensor) + size) + nodes + tensor  # graph, field 7 of a ModelProto
    with path.open("wb") as file:
        file.write(start)
        file.seek(size, os.SEEK_CUR)
        file.write(rest.SerializeToString())
    done = in_little_memory(path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_name_of_megabytes_is_not_read(tiny_engine, tmp_path):
    node = helper.make_node("x" * (2 << 20), ["images"], ["x"])
    assert "not an ONNX file" in refusal(crafted(tiny_engine, tmp_path, lambda model: model.graph.node.append(node)))


def test_many_metadata_entries_below_the_limit_are_refused_together(tiny_engine, tmp_path):
    def change(model):
        for i in range(8):
            model.metadata_props.add(key=str(i), value="x" * (MAX_METADATA_BYTES // 4))

    path = crafted(tiny_engine, tmp_path, change)
    assert "metadata" in refusal(path)
    with pytest.raises(EngineError, match="metadata"):
        read_engine_manifest(path)


def test_millions_of_fields_end_early(tmp_path, monkeypatch):
    monkeypatch.setattr(header, "MAX_FIELDS", 1000)
    path = tmp_path / "fields.onnx"
    path.write_bytes(b"\x08\x08" * 5000)
    assert "not an ONNX file" in refusal(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "not a regular file" in refusal(tmp_path / "pipe.onnx")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"resize_short":72', '"resize_short":30000'),
        ('"resize_short":72', '"resize_short":63'),
        ('"resize_short":72', '"resize_short":0'),
        ('"image_size":64', '"image_size":100000'),
        ('"crop":64', '"crop":100000'),
        ('"std":[0.229,0.224,0.225]', '"std":[0.229,0.0,0.225]'),
        ('"std":[0.229,0.224,0.225]', '"std":[0.229,-1.0,0.225]'),
        ('"external_data":{}', '"external_data":{"":"' + ZEROS + '"}'),
        ('"external_data":{}', '"external_data":{"../w":"' + ZEROS + '"}'),
        ('"external_data":{}', '"external_data":{"w\\u0000":"' + ZEROS + '"}'),
        ('"external_data":{}', '"external_data":{"' + "w" * 5000 + '":"' + ZEROS + '"}'),
        ('"external_data":{}', '"external_data":{"a\\u001b[31m\\n":"' + ZEROS + '"}'),
    ],
)
def test_manifests_without_sense(tiny_engine, tmp_path, old, new):
    model = onnx.load(tiny_engine)
    (entry,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
    assert old in entry.value
    entry.value = entry.value.replace(old, new)
    path = tmp_path / "crafted.onnx"
    path.write_bytes(model.SerializeToString())
    seal(path)
    refusal(path)


def test_our_own_exports_pass(tiny_engine, tiny_parts):
    for path in (tiny_engine, *tiny_parts.glob("*.onnx"), bundled_path()):
        check_graph(path, read_engine_manifest(path))


@pytest.mark.parametrize("shape", [{"kind": "logistic"}, *({"fusion": fusion} for fusion in get_args(Fusion))], ids=str)
def test_heads_of_every_shape_pass(shape):
    from cinemae.export.graph.tracing import trace
    from cinemae.export.parts import HEAD
    from cinemae.runtime.core.manifest import HeadConfig
    from cinemae.train.model.head import Head

    head = Head(32, HeadConfig(agg_hidden=(8, 12), cls_hidden=10, **shape))
    graph = trace(head, (torch.zeros(2, 32), torch.zeros(2, 3)), HEAD).graph
    assert {node.op_type for node in graph.node} <= FUSED_OPERATORS
