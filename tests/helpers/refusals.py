"""How an engine made to harm is refused."""

from __future__ import annotations

import pytest
from cinemae.runtime.core.errors import EngineError, ExitCode
from cinemae.runtime.engines.load import load_engine


def refusal(path) -> str:
    """The message of the one EngineError that loading gives: one line, printable, of bounded length."""
    with pytest.raises(EngineError) as caught:
        load_engine(path)
    message = str(caught.value)
    assert caught.value.exit_code == ExitCode.ENGINE_OR_ENVIRONMENT
    assert message.isprintable(), message
    assert len(message) < 2000
    return message
