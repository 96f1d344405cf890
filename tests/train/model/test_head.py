"""The head against Eq. 7-9 computed by hand in float64, for every fusion variant and subset of statistics."""

import itertools
import math

import numpy as np
import pytest
import torch
from cinemae.runtime.core.manifest import HeadConfig
from cinemae.train.model.head import LOG_FLOOR, Head
from random_parameters import randomise

DIM, BATCH = 24, 5
TOLERANCE = 1e-5
"""float32 against float64 through four small layers."""
FUSIONS = ("early_add", "early_concat", "early_gate", "late_add", "late_concat", "late_gate")
SUBSETS = [subset for n in range(4) for subset in itertools.combinations(("s1", "s2", "s3"), n)]
EVERY_SUBSET_ADDED = [("early_add", subset) for subset in SUBSETS]
EVERY_FUSION = [(fusion, ("s1", "s2", "s3")) for fusion in FUSIONS] + [(fusion, ("s3",)) for fusion in FUSIONS]


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(p, f_global, stats, fusion, subset):
    """Eq. 7-9 and Table 7 from parameters `p` by name."""

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(x, name):
        mean = x.mean(1, keepdims=True)
        variance = ((x - mean) ** 2).mean(1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-6) * p[f"{name}.weight"] + p[f"{name}.bias"]

    def mlp_cls(x, name="mlp_cls"):
        return linear(gelu(linear(x, f"{name}.0")), f"{name}.2")[:, 0]

    g = norm(f_global, "norm_global")
    if not subset:
        return mlp_cls(g)
    s = np.stack([stats[:, ("s1", "s2", "s3").index(name)] for name in subset], axis=1)
    s = (s - p["stat_mean"]) / p["stat_std"]
    a = norm(linear(gelu(linear(gelu(linear(s, "mlp_agg.0")), "mlp_agg.2")), "mlp_agg.4"), "norm_anomaly")
    both = np.concatenate([g, a], axis=1)
    if fusion == "early_add":
        return mlp_cls(g + a)
    if fusion == "early_concat":
        return mlp_cls(both)
    if fusion == "early_gate":
        gate = sigmoid(linear(both, "gate"))
        return mlp_cls(gate * g + (1 - gate) * a)
    zg, za = mlp_cls(g), mlp_cls(a, "mlp_cls_anomaly")
    if fusion == "late_add":
        return zg + za
    if fusion == "late_concat":
        return linear(np.stack([zg, za], axis=1), "combine")[:, 0]
    weight = sigmoid(p["gate_logit"])
    return weight * zg + (1 - weight) * za


def make(fusion, subset, standardize=True):
    head = Head(
        DIM, HeadConfig(fusion=fusion, statistics=subset, standardize=standardize, agg_hidden=(9, 11), cls_hidden=7)
    )
    randomise(head, seed=1)
    generator = np.random.default_rng(2)
    f_global = generator.standard_normal((BATCH, DIM)) * 3 + 1
    stats = generator.standard_normal((BATCH, 3)) * [40, 10, 0.5] + [200, -3, 0.2]
    return head.eval(), f_global, stats


@pytest.mark.parametrize(("fusion", "subset"), EVERY_SUBSET_ADDED + EVERY_FUSION)
def test_head_is_the_equations(fusion, subset):
    head, f_global, stats = make(fusion, subset)
    head.fit_standardisation(torch.from_numpy(stats).float())
    parameters = {name: value.double().numpy() for name, value in head.state_dict().items()}
    with torch.no_grad():
        logit = head(torch.from_numpy(f_global).float(), torch.from_numpy(stats).float())
    assert logit.shape == (BATCH,)
    np.testing.assert_allclose(
        logit.numpy(), by_hand(parameters, f_global, stats, fusion, subset), atol=TOLERANCE, rtol=TOLERANCE
    )


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_parameter_is_used(fusion):
    head, f_global, stats = make(fusion, ("s1", "s2", "s3"))
    head.fit_standardisation(torch.from_numpy(stats).float())
    head(torch.from_numpy(f_global).float(), torch.from_numpy(stats).float()).square().sum().backward()
    unused = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not unused


def test_widths_are_those_of_the_method():
    head = Head(1024, HeadConfig())
    widths = [tuple(p.shape) for mlp in (head.mlp_agg, head.mlp_cls) for p in mlp.parameters() if p.ndim == 2]
    assert widths == [(256, 3), (512, 256), (1024, 512), (256, 1024), (1, 256)]


def test_standardisation_is_mean_and_biased_std_of_the_chosen_columns():
    head, _, stats = make("early_add", ("s1", "s3"))
    head.fit_standardisation(torch.from_numpy(stats))
    np.testing.assert_allclose(head.stat_mean.numpy(), stats[:, [0, 2]].mean(0), rtol=1e-6)
    np.testing.assert_allclose(head.stat_std.numpy(), stats[:, [0, 2]].std(0), rtol=1e-6)


def test_a_constant_statistic_does_not_divide_by_zero():
    head, f_global, stats = make("early_add", ("s1", "s2", "s3"))
    stats[:, 2] = 0
    head.fit_standardisation(torch.from_numpy(stats))
    with torch.no_grad():
        logit = head(torch.from_numpy(f_global).float(), torch.from_numpy(stats).float())
    assert head.stat_std[2] > 0
    assert logit.isfinite().all()


def test_without_standardisation_the_statistics_enter_as_they_are():
    head, _, stats = make("early_add", ("s1", "s2", "s3"), standardize=False)
    head.fit_standardisation(torch.from_numpy(stats))
    assert head.stat_mean.tolist() == [0, 0, 0]
    assert head.stat_std.tolist() == [1, 1, 1]


@pytest.mark.parametrize("subset", [("s1", "s2", "s3"), ("s3",), ()])
def test_a_logistic_head_is_one_product_of_f_global_and_the_logarithms(subset):
    """Statistics at most `LOG_FLOOR` (s2 of flat images is negative) count as `LOG_FLOOR`."""
    head = Head(DIM, HeadConfig(kind="logistic", statistics=subset)).eval()
    randomise(head, seed=1)
    _, f_global, stats = make("early_add", ("s1", "s2", "s3"))
    head.centre.copy_(centre := torch.arange(DIM + len(subset)) / 7)
    logs = np.log(np.maximum(stats, LOG_FLOOR))[:, [("s1", "s2", "s3").index(name) for name in subset]]
    assert (stats[:, 1] < 0).any()
    weight, bias = (p.detach().double().numpy() for p in head.parameters())
    with torch.no_grad():
        logit = head(torch.from_numpy(f_global).float(), torch.from_numpy(stats).float())
    expected = (np.hstack([f_global, logs]) - centre.numpy()) @ weight[0] + bias
    np.testing.assert_allclose(logit.numpy(), expected, atol=TOLERANCE, rtol=TOLERANCE)


def test_without_statistics_the_head_sees_f_global_alone():
    head, f_global, stats = make("early_add", ())
    with torch.no_grad():
        first, second = (
            head(torch.from_numpy(f_global).float(), torch.from_numpy(s).float()) for s in (stats, stats + 9)
        )
    assert torch.equal(first, second)
    assert not any("agg" in name or "anomaly" in name for name, _ in head.named_parameters())
