"""The probe for saturating 8-bit products: its graph, its answer here and on an emulated CPU, and what hangs on it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from cinemae.runtime.engines.onnx import saturation, session
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from emulator import emulated, needs_emulator
from onnx import TensorProto, helper

EMULATED = """
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from cinemae.runtime.engines.onnx.saturation import OPTION, saturates
onnxruntime = import_onnxruntime()
plain = onnxruntime.SessionOptions
def exact():
    options = plain()
    options.add_session_config_entry(*OPTION)
    return options
found = saturates(onnxruntime)
saturates.cache_clear()
onnxruntime.SessionOptions = exact
print(found, saturates(onnxruntime))
"""


def test_the_graph_is_the_product_that_it_says():
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["b"], value=helper.make_tensor("v", TensorProto.INT8, [1], [127])),
        helper.make_node("MatMulInteger", ["a", "b", "za", "zb"], ["y"]),
    ]
    constants = [
        helper.make_tensor("za", TensorProto.UINT8, [], [0]), helper.make_tensor("zb", TensorProto.INT8, [], [0]),
        helper.make_tensor("s", TensorProto.INT64, [2], [saturation.LENGTH, 16]),
    ]
    ends = (helper.make_tensor_value_info("a", TensorProto.UINT8, [1, saturation.LENGTH]),
            helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16]))
    graph = helper.make_graph(nodes, "g", [ends[0]], [ends[1]], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert onnx.load_from_string(saturation.PRODUCT) == made


def test_the_answer_is_that_of_the_library_on_this_cpu():
    onnxruntime = import_onnxruntime()
    found = onnxruntime.InferenceSession(saturation.PRODUCT, providers=["CPUExecutionProvider"]).run(
        None, {"a": np.full((1, saturation.LENGTH), 255, np.uint8)}
    )[0]
    saturation.saturates.cache_clear()
    assert saturation.saturates(onnxruntime) == (not np.all(found == 64 * 255 * 127))


@pytest.mark.parametrize("answer", [True, False])
def test_the_slow_kernel_is_taken_where_the_fast_one_saturates_and_nowhere_else(answer, tiny_engine, monkeypatch):
    monkeypatch.setattr(session, "saturates", lambda ort: answer)
    opened = session.create_session(tiny_engine, "cpu", 1).session
    options = opened.get_session_options()
    try:
        value = options.get_session_config_entry(saturation.OPTION[0])
    except RuntimeError:  # the library's answer for an entry that was not set
        value = None
    assert value == ("1" if answer else None)


@pytest.mark.slow
@needs_emulator
def test_an_emulated_cpu_without_vnni_saturates_and_the_option_mends_it():
    found = emulated(EMULATED)
    assert found.stdout == "True False\n", found.stderr[-2000:]
