"""An engine made of arithmetic, and servers around it."""

from __future__ import annotations

import pytest
from cinemae.runtime.scoring.detector import Detector
from serve_tools import ArithmeticEngine


@pytest.fixture
def engine(tiny_manifest):
    return ArithmeticEngine(tiny_manifest)


@pytest.fixture
def serve(engine):
    """Start a server with the given settings; yields nothing but a function."""
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("fastapi", reason="needs the serve extra")
    from cinemae.runtime.serve.app import create_app
    from cinemae.runtime.serve.settings import ServeSettings
    from serve_tools import running

    open_servers = []

    def start(**settings):
        made = ServeSettings(drain=0.0, **settings)
        context = running(create_app(lambda: Detector(engine, engine.manifest), made), made)
        base, server = context.__enter__()
        open_servers.append(context)
        return httpx.Client(base_url=base, timeout=120), server

    yield start
    if engine.gate is not None:
        engine.gate.set()
    for context in open_servers:
        context.__exit__(None, None, None)
