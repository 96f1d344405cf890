"""Detectors of the tiny engine."""

import contextlib

import pytest
from cinemae.runtime.scoring.detector import Detector


@pytest.fixture(scope="module")
def load(tiny_engine):
    """Opens a detector with further options."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(Detector.load(tiny_engine, device="cpu", threads=1, **options))


@pytest.fixture(scope="module")
def detector(load):
    return load()
