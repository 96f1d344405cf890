"""The tree holds what the architecture promises: no torch in the runtime, relative imports, no pickles."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOP = ROOT / "runtime" / "cinemae"
"""The package `cinemae` itself: its parts do not lie below it in the tree."""
SOURCES = {
    path: path.read_text(encoding="utf-8")
    for package in ("runtime", "train", "export", "models")
    for path in sorted((ROOT / package).rglob("*.py"))
}
NOT_IN_RUNTIME = {
    "torch", "timm", "torchvision", "onnx", "onnxscript", "transformers", "sklearn", "scipy", "matplotlib"
}


def imported(text: str) -> set[str]:
    """First names of every absolute import in a file, wherever it stands."""
    nodes = list(ast.walk(ast.parse(text)))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0]
    return {name.split(".")[0] for name in plain + named}


def test_runtime_never_names_a_training_library():
    runtime = {path: imported(text) for path, text in SOURCES.items() if ROOT / "runtime" in path.parents}
    named = {path.name: names & NOT_IN_RUNTIME for path, names in runtime.items() if names & NOT_IN_RUNTIME}
    assert named == {"tensorrt_8.py": {"onnx"}}  # builds plans of TensorRT 8.6, which has no types of its own


def test_source_imports_are_relative():
    assert [path for path, text in SOURCES.items() if path.parent != TOP and "cinemae" in imported(text)] == []


def test_every_folder_with_modules_is_a_package():
    assert [folder for folder in {path.parent for path in SOURCES} if not (folder / "__init__.py").exists()] == []


def test_onnxruntime_is_imported_by_one_function():
    """`import_onnxruntime` turns its telemetry off first; any other import would let it send."""
    others = [path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    texts = SOURCES | {path: path.read_text(encoding="utf-8") for path in others}
    found = [path for path, text in texts.items() if re.search(r"^\s*(import|from) onnxruntime\b", text, re.MULTILINE)]
    assert found == [ROOT / "runtime" / "engines" / "onnx" / "library.py"]


def test_pickles_are_never_loaded():
    wrong = []
    for path, text in SOURCES.items():
        loads = re.findall(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text)
        wrong += [(path, call) for call in loads if "weights_only=True" not in call]
        pickles = r"^\s*(import pickle|from pickle|import joblib)|allow_pickle\s*=\s*True"
        wrong += [(path, "pickle")] if re.search(pickles, text, re.MULTILINE) else []
    assert wrong == []
