"""INT8: balancing is exact, errors bounded, outliers caught, a batch is what singles are; TensorRT's form too."""

import numpy as np
import onnx
import pytest
import torch
from cinemae.export.fused import FUSED, packed_graph, write_fused
from cinemae.export.graph.packed import PackedDetector
from cinemae.export.graph.tracing import HALF_QDQ_OPSET, trace
from cinemae.export.int8.drift import logit_drift
from cinemae.export.int8.ranges import activation_ranges, balance, dense_layers
from cinemae.export.int8.recipe import (
    MAX_ERROR,
    Rounded,
    Treatment,
    cheapest,
    choose_recipe,
    quantise_weight,
    row_round,
    static_scale,
    treatments,
)
from cinemae.export.int8.rewrite import quantise_for_cpu, quantise_for_tensorrt
from cinemae.export.parity import eager_output, parity_images, relative
from cinemae.export.tensorrt import float_types
from cinemae.runtime.engines.load import load_engine

EXACT = 2e-5
"""Balancing multiplies and divides by the same factors: float32 rounding."""

LOGIT = 0.1
"""INT8 on a random tiny model moves the logit by 0.01 to 0.03; four times that would be a mistake, not rounding."""


@pytest.fixture(scope="module")
def batches():
    images = parity_images(14, 64)
    return [images[i : i + 4] for i in range(0, 14, 4)]


@pytest.fixture
def packed(tiny_detector):
    return PackedDetector(tiny_detector)


def graph(packed):
    return trace(packed, (torch.zeros(2, 64, 64, 3, dtype=torch.uint8),), FUSED)


def add_outliers(packed, factor=300.0):
    """Scale up a few channels of what enters one block's fc2, as large models show."""
    block = packed.encoder.blocks[1]
    bias = block.fc1.bias.detach().clone()
    bias[:3] += factor
    block.fc1.bias = torch.nn.Parameter(bias, requires_grad=False)


def test_balancing_changes_nothing(packed, batches):
    x = torch.from_numpy(batches[0])
    before = packed(x)
    balance(packed, activation_ranges(packed, batches))
    for a, b in zip(before, packed(x), strict=True):
        scale = a.nan_to_num().abs().max().clamp_min(1).item()
        torch.testing.assert_close(b, a, rtol=EXACT, atol=EXACT * scale, equal_nan=True)


def test_balancing_evens_out_uneven_channels(packed, batches):
    norm = packed.encoder.blocks[1].norm1.norm
    norm.weight = torch.nn.Parameter(norm.weight.detach() * torch.logspace(-2, 2, 32), requires_grad=False)
    seen = activation_ranges(packed, batches)
    after = balance(packed, dict(seen))

    def unevenness(found):
        ranges = torch.maximum(found.high.abs(), found.low.abs())
        return float(ranges.max() / ranges.min())

    name = "encoder.blocks.1.q"
    assert unevenness(after[name]) < unevenness(seen[name]) / 10


@pytest.mark.parametrize("place", ["norm1", "norm2", "v"])
def test_balancing_takes_out_channels_that_are_always_on(place, packed, batches):
    block = packed.decoder.blocks[1]
    holder, name = {"norm1": (block.norm1.norm, "k"), "norm2": (block.norm2.norm, "fc1"), "v": (block.v, "proj")}[place]
    holder.bias = torch.nn.Parameter(holder.bias.detach().index_add(0, torch.tensor([3]), torch.tensor([200.0])), False)
    seen = activation_ranges(packed, batches)
    after = balance(packed, dict(seen))
    name = f"decoder.blocks.1.{name}"
    assert seen[name].high[3] > 100
    assert after[name].high.max() < 20
    now = activation_ranges(packed, batches)[name]
    torch.testing.assert_close(now.high, after[name].high, rtol=1e-3, atol=1e-3)


def test_weights_are_symmetric_per_channel():
    weight = torch.randn(16, 5) * torch.logspace(-3, 3, 5)
    quantised, scale = quantise_weight(weight)
    assert quantised.dtype == torch.int8
    assert quantised.min() >= -127
    assert ((quantised * scale - weight).abs() <= scale / 2 * 1.001).all()


def test_static_scale_represents_zero_exactly():
    for low, high in [(-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0)]:
        scale, zero = static_scale(low, high)
        assert scale > 0
        assert 0 <= zero <= 255
        assert (0 - zero) * scale <= min(low, 0) + scale
        assert (255 - zero) * scale >= max(high, 0) - scale


def test_row_scale_depends_on_the_row_alone():
    x = torch.randn(4, 8)
    together = row_round(x)
    x[1:] *= 1000
    torch.testing.assert_close(row_round(x)[0], together[0])


def test_engine_is_close_and_a_batch_is_what_singles_are(packed, tiny_detector, tiny_manifest, batches, tmp_path):
    recipe = choose_recipe(packed, batches)
    assert set(recipe) == set(dense_layers(packed))
    assert all(item.error <= MAX_ERROR for item in recipe.values())
    model = graph(packed)
    quantise_for_cpu(model, packed, recipe)
    integer = [name for name, item in recipe.items() if item.kind != "fp32"]
    products = sum(node.op_type == "MatMulIntegerToFloat" for node in model.graph.node)
    assert products == len(integer) > len(recipe) / 2
    stored = write_fused(model, tiny_manifest, tmp_path / "int8.onnx", "int8")
    assert stored.precision == "int8"
    images = np.concatenate(batches)[:7]
    expected = eager_output(tiny_detector, images)
    engine = load_engine(tmp_path / "int8.onnx", device="cpu")
    found = engine.infer(images)
    singles = np.concatenate([engine.infer(images[i : i + 1]).logit for i in range(7)])
    engine.close()
    assert np.abs(found.logit - expected.logit).max() < LOGIT
    assert relative(found.lcas, expected.lcas, np.nanmax(np.abs(expected.lcas), axis=1, keepdims=True)) < LOGIT
    np.testing.assert_allclose(found.logit, singles, atol=1e-5)


def test_outlier_channels_are_not_treated_statically(packed, batches, tiny_manifest, tmp_path):
    add_outliers(packed)
    x = torch.from_numpy(batches[0])
    expected = packed(x)
    recipe = choose_recipe(packed, batches)
    assert recipe["encoder.blocks.1.fc2"].kind != "static"
    assert recipe["encoder.blocks.1.fc2"].peak > 200
    model = graph(packed)
    quantise_for_cpu(model, packed, recipe)
    write_fused(model, tiny_manifest, tmp_path / "outliers.onnx", "int8")
    engine = load_engine(tmp_path / "outliers.onnx", device="cpu")
    found = engine.infer(batches[0])
    engine.close()
    assert np.abs(found.logit - expected.logit.numpy()).max() < LOGIT


def test_per_row_products_run_and_are_batch_invariant(packed, batches, tiny_manifest, tmp_path):
    expected = packed(torch.from_numpy(batches[0]))
    recipe = dict.fromkeys(dense_layers(packed), Treatment("row", 0.0, 0.0))
    model = graph(packed)
    quantise_for_cpu(model, packed, recipe)
    write_fused(model, tiny_manifest, tmp_path / "row.onnx", "int8")
    engine = load_engine(tmp_path / "row.onnx", device="cpu")
    found = engine.infer(batches[0]).logit
    alone = engine.infer(batches[0][:1]).logit
    engine.close()
    assert np.abs(found - expected.logit.numpy()).max() < LOGIT
    np.testing.assert_allclose(found[:1], alone, atol=1e-5)


def test_drift_is_what_a_small_error_does_to_the_logit(packed, batches):
    layers = dense_layers(packed)
    for name in ("encoder.blocks.0.k", "encoder.blocks.1.fc2", "decoder.embed", "decoder.blocks.0.v"):
        layer = layers[name]
        error = torch.randn(layer.weight.shape[1], generator=torch.Generator().manual_seed(1)) * 1e-3
        added = {"row": lambda x, layer=layer, error=error: layer(x) + error}
        predicted = logit_drift(packed, list(batches[0]), {key: {} for key in layers} | {name: added})
        before = packed(torch.from_numpy(batches[0])).logit
        layer.bias = torch.nn.Parameter(layer.bias + error, requires_grad=False)
        change = packed(torch.from_numpy(batches[0])).logit - before
        layer.bias = torch.nn.Parameter(layer.bias - error, requires_grad=False)
        torch.testing.assert_close(predicted[name]["row"], change, rtol=0.05, atol=2e-5)


def test_time_is_spent_where_it_helps_the_logit_most():
    def options(static, row):
        drifts = {"static": static, "row": row, "fp32": 0.0}
        return {kind: Treatment(kind, 0.0, 1.0, drift=drift) for kind, drift in drifts.items()}

    offered = {"harmful": options(0.5, 0.4), "mended": options(0.1, 0.001), "harmless": options(0.001, 0.001)}
    sizes = dict.fromkeys(offered, 100)
    kinds = {limit: [item.kind for item in cheapest(offered, sizes, limit).values()] for limit in (1.0, 0.2, 0.01, 0.0)}
    assert kinds == {
        1.0: ["static", "static", "static"],
        0.2: ["fp32", "static", "static"],
        0.01: ["fp32", "row", "static"],
        0.0: ["fp32", "fp32", "fp32"],
    }


@pytest.mark.slow
def test_a_tighter_limit_brings_the_logit_closer(packed, tiny_detector, tiny_manifest, batches, tmp_path):
    images = np.concatenate(batches)
    expected = eager_output(tiny_detector, images).logit
    drift = {}
    for limit in (1.0, 0.0005):
        again = PackedDetector(tiny_detector)
        recipe = choose_recipe(again, batches, limit)
        model = graph(again)
        quantise_for_cpu(model, again, recipe)
        write_fused(model, tiny_manifest, tmp_path / f"{limit}.onnx", "int8")
        engine = load_engine(tmp_path / f"{limit}.onnx", device="cpu")
        drift[limit] = float(np.sqrt(np.mean((engine.infer(images).logit - expected) ** 2)))
        engine.close()
    assert drift[0.0005] < 2 * 0.0005 < drift[1.0]


def test_the_bias_makes_good_the_mean_error(packed, batches):
    name = "encoder.blocks.0.fc1"
    layer = dense_layers(packed)[name]
    product = Rounded(layer, activation_ranges(packed, batches)[name])
    static = treatments([product])["static"]
    exact = product.seen.rows @ layer.weight + layer.bias
    product.correct_bias(static)
    found = static.rounded(product.seen.rows) @ (product.values.float() * product.scale) + layer.bias
    assert (found - exact).mean(0).abs().max() < 1e-5 < product.offset(static).abs().max()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.slow
def test_qdq_form_is_standard_onnx_with_symmetric_int8(half, packed, tiny_detector, tiny_manifest, batches, tmp_path):
    recipe = choose_recipe(packed, batches)
    model = packed_graph(packed.to_half(), HALF_QDQ_OPSET) if half else graph(packed)
    quantise_for_tensorrt(model, packed, recipe)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.domain for entry in model.opset_import] == [""]
    zeros = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and not any(t.raw_data)]
    assert zeros
    if half:  # attention and GELU are float16: only LayerNorm, softmax, LCAS, statistics and head are cast up
        (tmp_path / "types.onnx").write_bytes(model.SerializeToString())
        types = float_types(tmp_path / "types.onnx")
        wide = [n.name for n in model.graph.node if n.op_type in ("MatMul", "Erf") and types[n.output[0]] != "float16"]
        assert [name for name in wide if not name.startswith("/head/")] == []
    write_fused(model, tiny_manifest, tmp_path / "qdq.onnx", "int8")
    images = batches[0]
    engine = load_engine(tmp_path / "qdq.onnx", device="cpu")
    found = engine.infer(images).logit
    engine.close()
    assert np.abs(found - eager_output(tiny_detector, images).logit).max() < LOGIT
