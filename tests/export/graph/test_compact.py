"""Compact storage loses nothing: what float16 holds exactly is stored so, all else stays, outputs do not change."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from cinemae.export.fused import fused_graph
from cinemae.export.graph.compact import compact, exact_in_half
from cinemae.runtime.core.manifest import HeadConfig, MethodConfig
from cinemae.runtime.core.masks import draw_visible
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from untrained import untrained_detector

ort = import_onnxruntime()


def test_only_exact_values_count():
    assert exact_in_half(np.float32([0.5, -2.0, 1024.0]))
    assert not exact_in_half(np.float32([0.1]))
    assert not exact_in_half(np.float32([1e9]))


@pytest.fixture(scope="module")
def rounded_detector(tiny_config, tiny_detector):
    """`tiny_detector` with its backbone rounded to float16."""
    visible = draw_visible(tiny_config.n_patches, 2, "balanced", 0)
    head = HeadConfig(agg_hidden=(8, 12), cls_hidden=10)
    detector = untrained_detector(tiny_config, MethodConfig(), visible, head)
    detector.load_state_dict(tiny_detector.state_dict())
    with torch.no_grad():
        for parameter in detector.mae.parameters():
            parameter.copy_(parameter.half().float())
    return detector


def test_outputs_are_the_same_bits(rounded_detector, random_images):
    model = fused_graph(rounded_detector)
    before = len(model.SerializeToString())
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"images": random_images})
    saved = compact(model)
    assert saved > 0.25 * before
    onnx.checker.check_model(model)
    found = ort.InferenceSession(model.SerializeToString()).run(None, {"images": random_images})
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_values_that_would_change_are_left_alone(tiny_detector):
    model = fused_graph(tiny_detector)
    before = {t.name: t.data_type for t in model.graph.initializer}
    assert compact(model) == 0
    assert {t.name: t.data_type for t in model.graph.initializer} == before
