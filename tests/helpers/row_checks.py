"""Checks of the rows that decoders write pixels into."""

import gc
import time

import pytest
from cinemae.runtime.core.rows import Rows


def freed(rows):
    """Whether no row is left, once the decoding threads have finished what they had begun."""
    until = time.monotonic() + 60
    while any(rows._reserved) and time.monotonic() < until:
        gc.collect()  # an exception and its frames
        time.sleep(0.01)
    return not any(rows._reserved)


@pytest.fixture
def poisoned(monkeypatch):
    """Rows whose pixels turn to white as soon as they are free."""
    release = Rows._release

    def spoil(self, index):
        self.memory[index] = 255
        release(self, index)

    monkeypatch.setattr(Rows, "_release", spoil)
