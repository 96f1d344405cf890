"""What the tests of weights ask: the same tensors, or a refusal that names the file."""

import os

import pytest
import torch
from cinemae.runtime.core.errors import WeightsError
from cinemae.train.weights.load import load_backbone


def assert_same(mae, state):
    loaded = mae.state_dict()
    assert loaded.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(loaded[key], value), key


def refused(source, *words, **options):
    with pytest.raises(WeightsError) as caught:
        load_backbone(source, **options)
    for word in (*words, os.path.basename(str(source))):
        assert word in str(caught.value)
