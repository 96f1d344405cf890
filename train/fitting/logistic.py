"""The logistic head: a convex fit in seconds, without a seed and without epochs."""

from __future__ import annotations

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ...runtime.core.manifest import HeadConfig
from ..model.head import STD_FLOOR, Head
from .examples import Examples

PENALTY = 1.0
"""C of scikit-learn: the summed loss of the images, whose mean weight is 1, stands beside half the squared weights of
the standardised features. On sources left out of the bundled engine's training (docs/training.md) the AUC is the same
from 0.1 to 100, and falls below."""


@torch.no_grad()
def fit_logistic(train: Examples, weights: Tensor | None, config: HeadConfig) -> Head:
    """Fit on the statistics under the deployed masks.

    Args:
        train: examples to fit on, of both classes.
        weights: of each example in the loss, float32 [n], mean 1; None: all alike.
        config: shape of the head.

    Returns:
        The head in eval mode; the features' deviations are part of its weights.
    """
    head = Head(train.f_global.shape[1], config)
    features = head.logistic_features(train.f_global, train.deployed).double()
    mean, std = features.mean(0), features.std(0, correction=0).clamp_min(STD_FLOOR)
    model = LogisticRegression(C=PENALTY, solver="newton-cholesky", tol=1e-8)
    model.fit(((features - mean) / std).numpy(), train.labels.numpy(), None if weights is None else weights.numpy())
    head.centre.copy_(mean)
    head.linear.weight.copy_(torch.from_numpy(model.coef_) / std)
    head.linear.bias.copy_(torch.from_numpy(model.intercept_))
    return head.eval()
