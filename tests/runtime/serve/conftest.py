"""An engine made of arithmetic, and servers around it."""

from __future__ import annotations

import contextlib

import pytest
from serve_tools import ArithmeticEngine, serving


@pytest.fixture
def engine(tiny_manifest):
    return ArithmeticEngine(tiny_manifest)


@pytest.fixture
def serve(engine):
    """Starts a server with the given options and returns a client and the server."""
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("fastapi", reason="needs the serve extra")
    from cinemae.runtime.serve.options import ServeOptions

    with contextlib.ExitStack() as stack:

        def start(**options):
            base, server = stack.enter_context(serving(engine, ServeOptions(drain=0, **options)))
            return stack.enter_context(httpx.Client(base_url=base, timeout=120)), server

        yield start
        if engine.gate is not None:
            engine.gate.set()
