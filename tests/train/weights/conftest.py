"""A small masked autoencoder's tensors in FAIR's layout, and its configuration as Hugging Face writes it."""

from __future__ import annotations

import pytest
from published_layouts import TINY, fair_shapes, fair_state, hugging_face_config


@pytest.fixture(scope="module")
def state():
    return fair_state(fair_shapes(**TINY))


@pytest.fixture
def config():
    return hugging_face_config(TINY)
