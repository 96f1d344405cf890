"""The head [Eq. 7-9]: standardised statistics correct the global feature, in every fusion variant of Table 7.

Beside the paper's, a logistic head: one linear layer. D is the encoder width. A subset of the statistics [Table 6a]
selects columns of [s1, s2, s3].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...runtime.core.manifest import HeadConfig

NORM_EPS = 1e-6
STD_FLOOR = 1e-6
NEAR_CONSTANT = 1e-2
"""Share of the usual size below which a deviation is not enlarged: half precision moves statistics by as much of their
size (`export.parity.TOLERANCES`) and features by a tenth of it of their deviation (benchmarks/extract-speed.md)."""
LOG_FLOOR = 1e-3
"""Least statistic of which a logistic head takes the logarithm: s2 of flat images is negative, s3 of one run is 0."""
COLUMNS = {"s1": 0, "s2": 1, "s3": 2}


def mlp_cls(dim: int, hidden: int) -> nn.Sequential:
    """MLP_cls of Eq. 9: [B, dim] -> [B, 1]."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, 1))


def deviation(values: Tensor, size: Tensor) -> Tensor:
    """Standard deviation of each column of [n, F], at least `NEAR_CONSTANT` of its usual `size`: [F]."""
    return torch.maximum(values.std(0, correction=0), NEAR_CONSTANT * size).clamp_min(STD_FLOOR)


class Head(nn.Module):
    """Global feature and statistics to logit [Eq. 7-9].

    Args:
        dim: encoder width D.
        config: statistics used, fusion variant and widths of the layers.

    Attributes:
        columns: int64 [n], which of s1, s2, s3 the head sees.
        stat_mean: float32 [n], mean of these over the training set.
        stat_std: float32 [n], their standard deviation there, at least `NEAR_CONSTANT` of the mean.
        centre: float32 [D + n], of a logistic head: mean of `logistic_features` over the training set.
    """

    columns: Tensor
    stat_mean: Tensor
    stat_std: Tensor
    centre: Tensor

    def __init__(self, dim: int, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        n = len(config.statistics)
        self.register_buffer("columns", torch.tensor([COLUMNS[s] for s in config.statistics], dtype=torch.int64))
        if config.kind == "logistic":
            self.register_buffer("centre", torch.zeros(dim + n))
            self.linear = nn.Linear(dim + n, 1)
            return
        self.register_buffer("stat_mean", torch.zeros(n))
        self.register_buffer("stat_std", torch.ones(n))
        self.norm_global = nn.LayerNorm(dim, eps=NORM_EPS)
        fusion = config.fusion
        if n:
            a, b = config.agg_hidden
            self.mlp_agg = nn.Sequential(nn.Linear(n, a), nn.GELU(), nn.Linear(a, b), nn.GELU(), nn.Linear(b, dim))
            self.norm_anomaly = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp_cls = mlp_cls(2 * dim if n and fusion == "early_concat" else dim, config.cls_hidden)
        if n and fusion == "early_gate":
            self.gate = nn.Linear(2 * dim, dim)
        if n and fusion.startswith("late"):
            self.mlp_cls_anomaly = mlp_cls(dim, config.cls_hidden)
        if n and fusion == "late_concat":
            self.combine = nn.Linear(2, 1)
        if n and fusion == "late_gate":
            self.gate_logit = nn.Parameter(torch.zeros(()))

    def fit_standardisation(self, stats: Tensor) -> None:
        """Set mean and std from the training set's statistics [n, 3]; nothing happens under `standardize: false`."""
        if self.config.standardize and len(self.columns):
            chosen = stats[:, self.columns].double()
            self.stat_mean.copy_(chosen.mean(0))
            self.stat_std.copy_(deviation(chosen, chosen.mean(0).abs()))

    @torch.no_grad()
    def start_standardised(self, f_global: Tensor) -> None:
        """Set scale and offset of `norm_global` so that each feature starts with mean 0 and variance 1 over [n, D].

        Features that vary far less than the median feature start smaller.

        A LayerNorm levels the features of an image, not a feature over the images: without this, features that vary
        little are hardly learned. The shape of the head stays the paper's; training moves both on.
        """
        normalised = nn.functional.layer_norm(f_global, f_global.shape[1:], eps=NORM_EPS).double()
        std = deviation(normalised, normalised.std(0, correction=0).median())
        self.norm_global.weight.copy_(1 / std)
        self.norm_global.bias.copy_(-normalised.mean(0) / std)

    def forward(self, f_global: Tensor, stats: Tensor) -> Tensor:
        """Compute logits.

        Args:
            f_global: CLS of the unmasked pass, float32 [B, D].
            stats: s1, s2, s3, float32 [B, 3], not standardised.

        Returns:
            logit, float32 [B]; the larger, the more likely AI-generated.
        """
        if self.config.kind == "logistic":
            return self.linear(self.logistic_features(f_global, stats) - self.centre)[:, 0]
        g = self.norm_global(f_global)
        if not len(self.columns):
            return self.mlp_cls(g)[:, 0]
        s = (stats[:, self.columns] - self.stat_mean) / self.stat_std
        a = self.norm_anomaly(self.mlp_agg(s))
        return self.fuse(g, a)[:, 0]

    def logistic_features(self, f_global: Tensor, stats: Tensor) -> Tensor:
        """Inputs of a logistic head: f_global [B, D] and the logarithms of the chosen of stats [B, 3] -> [B, D + n]."""
        if not len(self.columns):
            return f_global
        return torch.cat([f_global, stats[:, self.columns].clamp_min(LOG_FLOOR).log()], dim=1)

    def fuse(self, g: Tensor, a: Tensor) -> Tensor:
        """Combine both normalised branches, [B, D] each, by the configured variant [Eq. 9, Table 7]: logit [B, 1]."""
        fusion = self.config.fusion
        if fusion == "early_add":
            return self.mlp_cls(g + a)
        if fusion == "early_concat":
            return self.mlp_cls(torch.cat([g, a], dim=1))
        if fusion == "early_gate":
            gate = torch.sigmoid(self.gate(torch.cat([g, a], dim=1)))
            return self.mlp_cls(gate * g + (1 - gate) * a)
        zg, za = self.mlp_cls(g), self.mlp_cls_anomaly(a)
        if fusion == "late_add":
            return zg + za
        if fusion == "late_concat":
            return self.combine(torch.cat([zg, za], dim=1))
        weight = torch.sigmoid(self.gate_logit)
        return weight * zg + (1 - weight) * za
