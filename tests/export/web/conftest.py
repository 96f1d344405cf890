"""The bundled engine as a site, npm's packages, and a browser; whatever is missing skips with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium
from cinemae.export.web.site import write_site
from cinemae.runtime.engines.load import bundled_path
from cinemae.runtime.engines.onnx_file import read_manifest
from web_site import npm_modules, served


@pytest.fixture(scope="session")
def modules(request) -> Path:
    """`node_modules` with the pinned onnxruntime-web and axe-core, kept between runs in pytest's cache."""
    return npm_modules(Path(request.config.cache.mkdir("cinemae-npm")))


@pytest.fixture(scope="session")
def demo_site(modules, tmp_path_factory) -> Path:
    """A folder with the bundled engine's site two folders down, at `apps/detector`. Do not modify."""
    root = tmp_path_factory.mktemp("site")
    engine = bundled_path()
    write_site(engine, read_manifest(engine), root / "apps" / "detector", modules)
    return root


@pytest.fixture(scope="module")
def browser():
    """One browser for a module."""
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def address(demo_site):
    """The site's address, served with the headers that threads need."""
    with served(demo_site) as (base, _):
        yield f"{base}/apps/detector/"
