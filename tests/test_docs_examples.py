"""What README and docs/ say is so: their Python runs as it stands, and every name and path they cite exists."""

import pydoc
import re
import shutil
from pathlib import Path

import pytest
from pictures import picture

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = [
    pytest.param(example, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, example in enumerate(re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL))
]
NAME = re.compile(r"(?:`|::: |\[)(cinemae\.(?:runtime|train|export)(?:\.\w+)*)(?:`|\n|\])")
PATH = re.compile(r"`((?:runtime|train|export|models|tests|docs|examples|benchmarks|\.ci)/[\w./-]*)`")


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs(example, tiny_engine, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cinemae.runtime.engines.load.bundled_path", lambda: tiny_engine)
    picture(320, 280).save("photo.jpg")
    (tmp_path / "photos").mkdir()
    for i in range(3):
        picture(300, 260, i).save(f"photos/{i}.jpg")
    shutil.copy(tiny_weights, "backbone.safetensors")
    exec(compile(example, "example", "exec"), {"__name__": "example"})


def test_documents_show_how_to_use_the_detector():
    assert len([example for example in EXAMPLES if "Detector" in example.values[0]]) >= 3


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_names_and_paths_exist(path):
    text = path.read_text("utf-8")
    names = [name for name in NAME.findall(text) if pydoc.locate(name) is None]
    paths = [name for name in PATH.findall(text) if not (ROOT / name).exists()]
    assert (names, paths) == ([], [])
