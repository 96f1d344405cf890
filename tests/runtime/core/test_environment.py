"""Installation hints say what works: from the source tree until a package index has the package."""

import re
from pathlib import Path

import pytest
from cinemae.runtime.core import environment
from cinemae.runtime.core.environment import install_tensorrt, pip_install, pip_packages

ROOT = Path(__file__).parents[3]


def test_a_release_switches_all_hints(monkeypatch):
    assert pip_install("cpu") == "pip install '.[cpu]' in the source tree of cinemae"
    monkeypatch.setattr(environment, "ON_INDEX", True)
    assert pip_install("serve,ray", "ray[serve]") == "pip install 'cinemae[serve,ray]' 'ray[serve]'"


def test_packages_of_others_and_the_pairs():
    assert pip_packages("onnx") == "pip install onnx"
    assert pip_packages("a[b]", "c", reinstall=True) == "pip install --force-reinstall 'a[b]' c"
    assert "'.[tensorrt-cu13]'" in install_tensorrt(13)
    assert "tensorrt-cu12" in install_tensorrt()


def test_every_hint_comes_from_one_place_and_names_extras_that_exist():
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("needs the source tree")
    table = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("optional-dependencies]")[2]
    extras = set(re.findall(r"^([\w-]+) = \[", table, re.MULTILINE))
    named = set()
    for part in ("runtime", "train", "export"):
        for path in (ROOT / part).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "pip install 'cinemae[" not in text, path
            for names in re.findall(r"pip_install\([\"']([\w,-]+)", text):
                named |= set(names.split(","))
    for cuda in (12, 13):
        assert f"tensorrt-cu{cuda}" in install_tensorrt(cuda)
    assert {"tensorrt-cu12", "tensorrt-cu13"} <= extras
    assert {"cpu", "gpu", "serve", "ray", "train", "export"} <= named <= extras
