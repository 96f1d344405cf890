"""INT8: balancing is exact, errors bounded, outliers caught, a batch is what singles are."""

from contextlib import ExitStack

import numpy as np
import pytest
import torch
from cinemae.export.fused import packed_graph, write_fused
from cinemae.export.graph.packed import PackedDetector
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
from cinemae.export.int8.rewrite import quantise_for_cpu
from cinemae.export.parity import eager_output, parity_images, relative
from cinemae.runtime.engines.load import load_engine
from onnx import TensorProto

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


@pytest.fixture
def engine_of(tiny_manifest, tmp_path):
    """A function that makes and loads the INT8 engine of a packed detector, and its manifest."""
    with ExitStack() as stack:

        def make(packed, recipe, products=None):
            model = packed_graph(packed)
            quantise_for_cpu(model, packed, recipe)
            found = [node for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"]
            assert products in (None, len(found))
            types = {one.name: one.data_type for one in model.graph.initializer}
            zeros = {types[node.input[4]] for node in found}  # int8 by int8 has no fast kernel
            assert zeros <= {TensorProto.UINT8}
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
            assert write_fused(model, tiny_manifest, path, "int8").precision == "int8"
            return stack.enter_context(load_engine(path, device="cpu"))

        yield make


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


@pytest.mark.slow
def test_engine_is_close_and_a_batch_is_what_singles_are(packed, tiny_detector, batches, engine_of):
    recipe = choose_recipe(packed, batches)
    assert set(recipe) == set(dense_layers(packed))
    assert all(item.error <= MAX_ERROR for item in recipe.values())
    integer = [name for name, item in recipe.items() if item.kind != "fp32"]
    assert len(integer) > len(recipe) / 2
    images = np.concatenate(batches)[:7]
    expected = eager_output(tiny_detector, images)
    engine = engine_of(packed, recipe, products=len(integer))
    found = engine.infer(images)
    singles = np.concatenate([engine.infer(images[i : i + 1]).logit for i in range(7)])
    assert np.abs(found.logit - expected.logit).max() < LOGIT
    assert relative(found.lcas, expected.lcas, np.nanmax(np.abs(expected.lcas), axis=1, keepdims=True)) < LOGIT
    np.testing.assert_allclose(found.logit, singles, atol=1e-5)


@pytest.mark.slow
def test_outlier_channels_are_not_treated_statically(packed, batches, engine_of):
    add_outliers(packed)
    expected = packed(torch.from_numpy(batches[0]))
    recipe = choose_recipe(packed, batches)
    assert recipe["encoder.blocks.1.fc2"].kind != "static"
    assert recipe["encoder.blocks.1.fc2"].peak > 200
    found = engine_of(packed, recipe).infer(batches[0])
    assert np.abs(found.logit - expected.logit.numpy()).max() < LOGIT


def test_per_row_products_run_and_are_batch_invariant(packed, batches, engine_of):
    expected = packed(torch.from_numpy(batches[0]))
    engine = engine_of(packed, dict.fromkeys(dense_layers(packed), Treatment("row", 0.0, 0.0)))
    found, alone = engine.infer(batches[0]).logit, engine.infer(batches[0][:1]).logit
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
def test_a_tighter_limit_brings_the_logit_closer(tiny_detector, batches, engine_of):
    images = np.concatenate(batches)
    expected = eager_output(tiny_detector, images).logit
    drift = {}
    for limit in (1.0, 0.0005):
        again = PackedDetector(tiny_detector)
        found = engine_of(again, choose_recipe(again, batches, limit)).infer(images).logit
        drift[limit] = float(np.sqrt(np.mean((found - expected) ** 2)))
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
