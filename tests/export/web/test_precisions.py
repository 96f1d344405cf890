"""Engines of every precision run in the browser as they do in the runtime."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from cinemae.export.bundle import compact
from cinemae.export.fused import FUSED, export_fused, fused_graph, write_fused
from cinemae.export.graph.packed import PackedDetector
from cinemae.export.graph.tracing import trace
from cinemae.export.int8.recipe import choose_recipe
from cinemae.export.int8.rewrite import CONTRIB, quantise_for_cpu
from cinemae.export.parity import parity_images
from cinemae.export.web.site import write_site
from cinemae.runtime import Detector
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.load import bundled_path
from pictures import encoded, picture
from web_site import SAME, agree, open_site, score, served

pytestmark = pytest.mark.browser


def int8_engine(detector, manifest, path):
    packed = PackedDetector(detector)
    images = parity_images(8, 64)
    recipe = choose_recipe(packed, [images[:4], images[4:]])
    model = trace(packed, (torch.zeros(2, 64, 64, 3, dtype=torch.uint8),), FUSED)
    quantise_for_cpu(model, packed, recipe)
    assert any(node.domain == CONTRIB for node in model.graph.node)
    write_fused(model, manifest, path, "int8")


def half_stored_engine(detector, manifest, path):
    model = fused_graph(detector)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.raw_data = values.tobytes()
    assert compact(model) > 0
    write_fused(model, manifest, path, "fp32")


@pytest.mark.parametrize("kind", ["float32", "float16-stored", "fp16", "int8"])
def test_every_precision_runs(browser, modules, tiny_detector, tiny_manifest, tmp_path, kind):
    engine = tmp_path / "my engine.onnx"
    if kind == "int8":
        int8_engine(tiny_detector, tiny_manifest, engine)
    elif kind == "float16-stored":
        half_stored_engine(tiny_detector, tiny_manifest, engine)
    else:
        export_fused(tiny_detector, tiny_manifest, engine, "fp16" if kind == "fp16" else "fp32")
    manifest = read_manifest(engine)
    write_site(engine, manifest, tmp_path / "site", modules)
    image = tmp_path / "a.png"
    image.write_bytes(encoded(picture(300, 280, 1)))
    with served(tmp_path / "site") as (base, _), Detector.load(engine, device="cpu") as detector:
        state = open_site(browser, base)
        assert abs(float(state["golden"]) - manifest.golden.logit) <= manifest.golden.tolerance
        tolerance = SAME if kind.startswith("float") else manifest.golden.tolerance
        agree(score(browser, [image])[0], detector.detect(image), tolerance)
    assert json.loads((tmp_path / "site" / "manifest.json").read_text())["precision"] == manifest.precision


def test_the_bundled_engine_stores_its_weights_in_half():
    kinds = {tensor.data_type for tensor in onnx.load(str(bundled_path())).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
