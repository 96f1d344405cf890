"""The tree holds what the architecture promises: directions of import, no torch in the runtime, packages listed."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parent.parent
ALLOWED = {"runtime": set(), "train": {"runtime"}, "export": {"train", "runtime"}, "models": set()}
"""Which of our packages each may import."""
NOT_IN_RUNTIME = {
    "torch", "timm", "torchvision", "onnx", "onnxscript", "transformers", "sklearn", "scipy", "matplotlib"
}  # fmt: skip


def imported(path: Path) -> list[tuple[int, str]]:
    """(level, dotted name) of every import in a file, wherever it stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
            found += [(node.level, f"{node.module or ''}.{alias.name}".strip(".")) for alias in node.names]
    return found


def our_package(path: Path, level: int, name: str) -> str | None:
    """The sibling package that an import reaches, None for its own package and for others' libraries."""
    depth = len(path.relative_to(ROOT).parts)
    if level == 0:
        parts = name.split(".")
        return parts[1] if parts[0] == "cinemae" and len(parts) > 1 else None
    if level < depth:
        return None
    return name.split(".")[0] or None


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package):
    wrong = []
    for path in (ROOT / package).rglob("*.py"):
        for level, name in imported(path):
            target = our_package(path, level, name)
            if target in ALLOWED and target != package and target not in ALLOWED[package]:
                wrong.append(f"{path.relative_to(ROOT)} imports {target}")
    assert not wrong


def test_runtime_never_names_a_training_library():
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "runtime").rglob("*.py")
        for level, name in imported(path)
        if level == 0 and name.split(".")[0] in NOT_IN_RUNTIME
    ]
    assert not wrong


def test_source_imports_are_relative():
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for package in ALLOWED
        for path in (ROOT / package).rglob("*.py")
        for level, name in imported(path)
        if level == 0 and name.split(".")[0] == "cinemae"
    ]
    assert not wrong


def test_every_package_is_listed_and_mapped():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    on_disk = {
        "cinemae." + ".".join(init.parent.relative_to(ROOT).parts)
        for package in ALLOWED
        for init in (ROOT / package).rglob("__init__.py")
    }
    assert set(settings["packages"]) == on_disk
    assert settings["package-dir"] == {f"cinemae.{package}": package for package in ALLOWED}


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for package in ALLOWED for path in (ROOT / package).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_pickles_are_never_loaded():
    wrong = []
    for package in ALLOWED:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for call in re.finditer(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text):
                if "weights_only=True" not in call.group():
                    wrong.append(f"{path.relative_to(ROOT)}: {call.group()}")
            if re.search(r"^\s*(import pickle|from pickle|import joblib)|allow_pickle\s*=\s*True", text, re.M):
                wrong.append(f"{path.relative_to(ROOT)}: pickle")
    assert not wrong
