"""The wheel holds every module of the tree and only the bundled engine."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGINE = "cinemae/models/cinemae-demo.onnx"
LARGEST_SAMPLES = 150_000
LARGEST_ENGINE = 24 * 2**20


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Every file of the tree that git does not ignore."""
    found = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [name for name in found.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def shipped(tracked, tmp_path_factory) -> dict[str, int]:
    """Name -> size of every file in a wheel built from what a container is built from, and a user's own exports."""
    pytest.importorskip("build")
    work = tmp_path_factory.mktemp("wheel")
    kept = tuple(re.findall(r"^!(.+)", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE))
    for name in filter(lambda name: name.startswith(kept), tracked):
        (work / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (work / "tree" / name).write_bytes((ROOT / name).read_bytes())
    for name in ("cinemae.onnx", "mine.plan", "mine.plan.json"):
        (work / "tree" / "models" / name).write_bytes(b"a user's own export")
    build = [sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation", "--outdir", work, work / "tree"]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.file_size for info in archive.infolist()}


def test_every_file_of_the_packages_ships(tracked, shipped):
    expected = {f"cinemae/{name}" for name in tracked if name.startswith(("runtime/", "train/", "export/", "models/"))}
    assert {name.replace("cinemae/runtime/cinemae/", "cinemae/") for name in expected} - set(shipped) == set()


def test_only_the_bundled_engine_and_small_samples_ship(shipped):
    models = {name for name in shipped if name.startswith("cinemae/models/")}
    assert models == {"cinemae/models/__init__.py", "cinemae/models/MODEL_CARD.md", ENGINE}
    assert shipped[ENGINE] <= LARGEST_ENGINE
    samples = [size for name, size in shipped.items() if name.startswith("cinemae/runtime/scan/samples/")]
    assert len(samples) == 7
    assert sum(samples) < LARGEST_SAMPLES


def test_one_name_in_site_packages(shipped):
    assert {name.split("/")[0] for name in shipped if ".dist-info" not in name} == {"cinemae"}
