"""The tree holds what the architecture promises: no torch in the runtime, relative imports, no pickles."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("runtime", "train", "export", "models")
TOP = ROOT / "runtime" / "cinemae"
"""The package `cinemae` itself: its parts do not lie below it in the tree."""
NOT_IN_RUNTIME = {
    "torch", "timm", "torchvision", "onnx", "onnxscript", "transformers", "sklearn", "scipy", "matplotlib"
}


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
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for level, name in imported(path)
        if level == 0 and name.split(".")[0] == "cinemae" and path.parent != TOP
    ]
    assert not wrong


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_onnxruntime_is_imported_by_one_function():
    """`import_onnxruntime` turns its telemetry off first; any other import would let it send."""
    door = ROOT / "runtime" / "engines" / "onnxruntime_import.py"
    folders = (*PACKAGES, "tests", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if path != door]
    found = re.compile(r"^\s*(import|from) onnxruntime\b", re.M)
    assert [str(path.relative_to(ROOT)) for path in files if found.search(path.read_text(encoding="utf-8"))] == []


def test_pickles_are_never_loaded():
    wrong = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for call in re.finditer(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text):
                if "weights_only=True" not in call.group():
                    wrong.append(f"{path.relative_to(ROOT)}: {call.group()}")
            if re.search(r"^\s*(import pickle|from pickle|import joblib)|allow_pickle\s*=\s*True", text, re.M):
                wrong.append(f"{path.relative_to(ROOT)}: pickle")
    assert not wrong
