"""`cinemae-train extract --ray` without Ray: its options reach the extraction, and the death of Ray is one sentence.

The extraction on a real cluster is tested beside the scan on a cluster, in `tests/runtime/ray`.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from cinemae.train.cli.train import main
from cinemae.train.features import ray_extract
from cinemae.train.features.extract import ExtractReport


@pytest.mark.parametrize(("given", "expected"), [("fp16", "fp16"), ("bf16", "bf16"), ("auto", "fp32")])
def test_the_options_reach_the_workers(given, expected, image_tree, tiny_weights, tmp_path, monkeypatch):
    seen = []

    def extract_on_ray(address, samples, backbone, spec, root, **options):
        seen.append((address, len(samples), spec.precision, options))
        return ExtractReport(folder=root / spec.key, computed=0, reused=0, copied=0, samples=(), skipped=())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_extract, "extract_on_ray", extract_on_ray)
    monkeypatch.setattr("cinemae.runtime.ray.supervised.supervise", lambda advice: None)
    arguments = ["extract", str(image_tree), "--backbone", str(tiny_weights), "--ray", "local", "--precision", given]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--device", "cpu", "--batch-size", "5", "--workers", "3"])
    assert not ended.value.code
    assert seen == [("local", 80, expected, {"batch_size": 5, "workers": 3, "device": "cpu", "threads": 1})]


DIES = """
import os, sys
from cinemae.train.cli import extract
from cinemae.train.cli.train import main
extract.extracted = lambda *arguments: {ends}
extract.described = lambda *arguments: "done"
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="runs are supervised on Linux only")
@pytest.mark.parametrize(
    ("ends", "code", "says"),
    [
        ("os._exit(1)", 3, "error: Ray ended the run: one of its own processes died; the same command continues it\n"),
        ("None", 0, ""),
    ],
)
def test_the_death_of_ray_ends_the_extraction_with_one_sentence(ends, code, says, image_tree, tiny_weights, tmp_path):
    command = [sys.executable, "-c", DIES.format(ends=ends), "extract", str(image_tree), "--backbone",
               str(tiny_weights), "--ray", "local", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, says)
