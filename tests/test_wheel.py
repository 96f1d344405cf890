"""The wheel holds every module of the tree and only the bundled engine."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("runtime", "train", "export", "models")
ENGINE = "cinemae/models/cinemae-demo.onnx"
LARGEST_SAMPLES = 150_000
LARGEST_ENGINE = 24 * 2**20
DATA_SUFFIXES = {".jpg", ".html", ".css", ".js", ".typed", ".svg"}


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory) -> dict[str, int]:
    """Name -> size of every file in a wheel built from a copy of the tree that also holds a user's own exports."""
    pytest.importorskip("build")
    work = tmp_path_factory.mktemp("wheel")
    tree = work / "tree"
    tree.mkdir()
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for name in tracked.stdout.splitlines():
        source = ROOT / name
        if source.is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(source.read_bytes())
    for name in ("cinemae.onnx", "mine.plan", "mine.plan.json"):
        (tree / "models" / name).write_bytes(b"a user's own export")
    build = [sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation", "--outdir", str(work / "dist")]
    done = subprocess.run([*build, str(tree)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = (work / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.file_size for info in archive.infolist()}


def test_every_module_ships(wheel_names):
    expected = {
        f"cinemae/{path.relative_to(ROOT)}".replace("cinemae/runtime/cinemae/", "cinemae/")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and (path.suffix == ".py" or path.suffix in DATA_SUFFIXES)
    }
    assert expected - set(wheel_names) == set()


def test_only_the_bundled_engine_ships(wheel_names):
    in_models = {name for name in wheel_names if name.startswith("cinemae/models/")}
    assert in_models == {"cinemae/models/__init__.py", "cinemae/models/MODEL_CARD.md", ENGINE}
    assert wheel_names[ENGINE] <= LARGEST_ENGINE


def test_samples_are_small(wheel_names):
    samples = [size for name, size in wheel_names.items() if name.startswith("cinemae/runtime/scan/samples/")]
    assert len(samples) == 7
    assert sum(samples) < LARGEST_SAMPLES


def test_one_name_in_site_packages(wheel_names):
    assert {name.split("/")[0] for name in wheel_names if ".dist-info" not in name} == {"cinemae"}
