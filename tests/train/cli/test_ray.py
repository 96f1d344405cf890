"""`cinemae-train extract --ray` without Ray: its options reach the workers, and the death of Ray is one sentence.

The fake answers `ray.put`, `ray.remote(f).options(...)`, `.remote(...)` and `ray.get` as Ray 2.x documents them
(docs.ray.io, "Ray Core API"): a task's arguments that are references arrive as the objects they stand for.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import pytest
from cinemae.train.cli.train import main
from cinemae.train.features import ray_extract
from cinemae.train.features.extract import ExtractReport


def fake_ray() -> ModuleType:
    """A module `ray` that runs each task at once, in this process."""
    module = ModuleType("ray")
    module.put = lambda value: value
    module.get = lambda running: running
    module.remote = lambda task: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=task))
    module.exceptions = ModuleType("ray.exceptions")
    module.exceptions.RayError = RuntimeError
    return module


@pytest.mark.parametrize(("given", "expected"), [("fp16", "fp16"), ("bf16", "bf16"), ("auto", "fp32")])
def test_the_precision_reaches_the_workers(given, expected, image_tree, tiny_weights, tmp_path, monkeypatch):
    seen = []

    def extract(samples, backbone, spec, root, **options):
        seen.append((spec.precision, options["batch_size"], options["workers"], str(options["device"])))
        return ExtractReport(root / spec.key, 0, 0, 0, (), ())

    ray = fake_ray()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)
    monkeypatch.setattr(ray_extract, "require_ray", lambda: None)
    monkeypatch.setattr(ray_extract, "cluster", lambda address: nullcontext())
    monkeypatch.setattr(ray_extract, "room", lambda device, cpus: 1)
    monkeypatch.setattr(ray_extract, "extract", extract)
    monkeypatch.setattr("cinemae.runtime.ray.supervised.supervise", lambda advice: None)
    arguments = ["extract", str(image_tree), "--backbone", str(tiny_weights), "--ray", "local", "--precision", given]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--device", "cpu", "--batch-size", "5", "--workers", "3"])
    assert not ended.value.code
    assert seen == [(expected, 5, 3, "cpu")] * ray_extract.PARTS_PER_WORKER


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
               str(tiny_weights), "--ray", "local"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, says)
