"""Installation hints say what works: from the source tree until a package index has the package."""

import re
from pathlib import Path

import pytest
from cinemae.runtime import install
from cinemae.runtime.install import pip_install

ROOT = Path(__file__).parents[2]


def test_a_release_switches_all_hints(monkeypatch):
    assert pip_install("cpu") == "pip install '.[cpu]' in the source tree of cinemae"
    monkeypatch.setattr(install, "ON_INDEX", True)
    assert pip_install("serve,ray", "ray[serve]") == "pip install 'cinemae[serve,ray]' 'ray[serve]'"


def test_every_hint_comes_from_one_place_and_names_extras_that_exist():
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("needs the source tree")
    table = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("optional-dependencies]")[2]
    extras = set(re.findall(r"^(\w+) = \[", table, re.MULTILINE))
    named = set()
    for part in ("runtime", "train", "export"):
        for path in (ROOT / part).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "pip install 'cinemae[" not in text, path
            for names in re.findall(r"pip_install\([\"']([\w,]+)", text):
                named |= set(names.split(","))
    assert {"cpu", "gpu", "serve", "ray", "train", "export"} <= named <= extras
