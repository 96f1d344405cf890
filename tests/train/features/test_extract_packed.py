"""Extraction from tables and the hub: the features of the same files in folders, killed and resumed, in flat memory."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from cinemae.train.data.samples import read_samples
from cinemae.train.features.cache import FeatureCache, read_rows

pytest.importorskip("pyarrow", reason="needs the data extra")
pytest.importorskip("huggingface_hub", reason="needs the data extra")

from fake_hub import fake_hub
from published_sets import Picture, open_fake, unpacked
from serve_tools import encode, picture

COMMAND = "from cinemae.train.cli.train import main; main()"
READ_ALL = """
import re, sys
from concurrent.futures import ThreadPoolExecutor
from cinemae.train.data.samples import read_samples, reading_order
samples = reading_order(read_samples(sys.argv[1]))
with ThreadPoolExecutor(2) as pool:
    sizes = list(pool.map(lambda sample: len(sample.read()), samples))
assert set(sizes) == {300_000}
print(len(sizes), re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])  # ru_maxrss has the parent's
"""


@pytest.fixture(scope="module")
def published():
    """Pictures as they are published, JPEG and PNG, of both classes."""
    return [Picture(encode(picture(i), ("JPEG", "PNG")[i % 2]), i % 2, ("Real", "flux")[i % 2]) for i in range(80)]


def test_rows_of_a_table_have_the_features_of_the_same_files(published, fill, spec, tmp_path):
    table = unpacked(tmp_path / "set", open_fake(published, group=10))
    for i, one in enumerate(published):
        folder = tmp_path / "files" / ("real", "fake")[one.label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.img.png").write_bytes(one.data)
    tables = fill(read_samples(table), spec, root=tmp_path / "a")
    assert tables.computed == len(published)
    assert not tables.skipped
    files = fill(read_samples(tmp_path / "files"), spec)
    assert {s.content for s in tables.samples} == {s.content for s in files.samples}
    again = fill(read_samples(tmp_path / "files"), spec, root=tmp_path / "a")
    assert (again.computed, again.copied) == (0, len(published)), "features are keyed by content, not by place"
    by_content: list[dict[str, np.ndarray]] = []
    for cache in (FeatureCache(tables.folder, tables.samples), FeatureCache(files.folder, files.samples)):
        found = cache.batches(np.arange(len(cache)))
        by_content.append({cache.rows[i].content: f for at, a in found for i, f in zip(at, a.f_global, strict=True)})
    assert by_content[0].keys() == by_content[1].keys()
    for content, value in by_content[1].items():
        np.testing.assert_allclose(by_content[0][content], value, atol=1e-5)  # other neighbours in the batch


@pytest.mark.slow
def test_an_extraction_from_the_hub_that_was_killed_goes_on(published, tiny_weights, tmp_path):
    with fake_hub() as hub:
        commit = hub.commit("datasets/org/set", open_fake(published, group=10))
        environment = {**hub.environment(tmp_path / "hub"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", COMMAND, "extract", "hf://datasets/org/set", "--backbone", str(tiny_weights),
                   "--cache", str(tmp_path / "cache"), "--batch-size", "1", "-q"]
        patched = "import cinemae.train.features.cache_writer as w; w.CacheWriter.__init__.__defaults__ = (2, 60.0)\n"
        patched += "import cinemae.train.features.extract as e; e.extract.__kwdefaults__['shard_rows'] = 2\n"
        child = subprocess.Popen([*command[:2], patched + COMMAND, *command[3:]], env=environment)
        while len(list((tmp_path / "cache").glob("*/*.safetensors"))) < 6 and child.poll() is None:
            time.sleep(0.002)
        child.kill()
        assert child.wait() == -signal.SIGKILL
        (folder,) = (tmp_path / "cache").glob("*")
        kept = len(FeatureCache(folder, None))
        assert 0 < kept < len(published)
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"{len(published) - kept} images computed, {kept} cached before" in ended.stdout
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == len(published)
    rows = sum(len(read_rows(shard)) for shard in folder.glob("*.safetensors"))
    assert rows == len(published), "what the killed run had written was not computed again"
    assert {line["path"].partition("@")[2][:40] for line in lines} == {commit}
    assert all(line["path"].startswith("hf://datasets/org/set@") for line in lines)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_table(tmp_path):
    """The second table has ten times the rows; what is held is a page of a row group, here of 30 images."""
    peaks = []
    for count in (120, 1200):
        own = [Picture(random.Random(i).randbytes(300_000), i % 2, "a") for i in range(count)]
        table = unpacked(tmp_path / str(count), open_fake(own, group=30))
        command = [sys.executable, "-c", READ_ALL, str(table)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ended.stdout.startswith(f"{count} ")
        peaks.append(int(ended.stdout.split()[1]) << 10)
    size = sum(path.stat().st_size for path in table.rglob("*.parquet"))
    assert size > 300 << 20
    assert peaks[1] - peaks[0] < size / 4, f"peaks {peaks}, the larger table has {size} bytes"
