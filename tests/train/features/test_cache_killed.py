"""An extraction that was killed with SIGKILL loses nothing that it had written, and doubles nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import training_tree
from cinemae.runtime.core.manifest import MethodConfig, Preprocess
from cinemae.train.data.samples import read_samples
from cinemae.train.features.cache import FeatureCache, read_rows
from cinemae.train.features.cache_spec import CacheSpec
from cinemae.train.features.extract import extract
from cinemae.train.weights.load import load_backbone

PREPROCESS = Preprocess(resize_short=72, crop=64)
PYTHONPATH = [str(Path(module).parent) for module in (__file__, training_tree.__file__)]
CHILD = """
import sys
from pathlib import Path
from test_cache_killed import extract_tree
extract_tree(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
"""


def extract_tree(weights, tree, root):
    loaded = load_backbone(weights)
    spec = CacheSpec.create(loaded.info, PREPROCESS, MethodConfig(mask_sets=1))
    return extract(read_samples(tree), lambda: loaded.mae, spec, root, batch_size=1, shard_rows=2, quiet=True)


@pytest.mark.slow
def test_kill_9_loses_nothing_and_doubles_nothing(image_tree, tiny_weights, tmp_path, killed):
    command = [sys.executable, "-c", CHILD, str(tiny_weights), str(image_tree), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(PYTHONPATH)}
    child = subprocess.Popen(command, env=environment)
    folder = killed(child, tmp_path, shards=7)
    kept = len(FeatureCache(folder, None))
    everything = read_samples(image_tree)
    assert 14 <= kept < len(everything), "the kill must come in the middle, after something was kept"
    report = extract_tree(tiny_weights, image_tree, tmp_path)
    assert (report.reused, report.computed) == (kept, len(everything) - kept)
    assert sorted(row.path for row in FeatureCache(folder, None).rows) == sorted(str(s.path) for s in everything)
    lines = [row for shard in folder.glob("*.safetensors") for row in read_rows(shard)]
    assert len(lines) == len(everything), "what the killed run had written was not computed again"
