"""A detector as it is before any training."""

from __future__ import annotations


def untrained_detector(config, method, visible, head):
    """Backbone `config` and head `head` with their initial values, masks `visible` int64 [K, V]; in eval mode."""
    from cinemae.train.model.detector import CinemaeDetector
    from cinemae.train.model.head import Head
    from cinemae.train.model.mae import MaskedAutoencoder

    return CinemaeDetector(MaskedAutoencoder(config), Head(config.encoder_dim, head), visible, method).eval()
