"""The Python examples of the README run as they stand, on a rendered photograph and a tiny engine."""

import re
from pathlib import Path

import pytest
from pictures import picture

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL) if README.is_file() else []
DETECTOR = [example for example in EXAMPLES if "Detector" in example]


@pytest.mark.parametrize("example", DETECTOR)
def test_example_runs(example, tiny_engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cinemae.runtime.engines.load.bundled_path", lambda: tiny_engine)
    picture(320, 280).save("photo.jpg")
    (tmp_path / "photos").mkdir()
    for i in range(3):
        picture(300, 260, i).save(f"photos/{i}.jpg")
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})


def test_readme_shows_how_to_use_the_detector():
    assert len(DETECTOR) >= 3
