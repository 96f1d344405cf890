"""A real Ray cluster on this machine: the records of a local run, a killed worker, a killed driver, clear failures."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="needs the ray extra")
pytest.importorskip("pyarrow", reason="needs the ray extra")

from cinemae.runtime.core.errors import EngineError, UsageError  # noqa: E402
from cinemae.runtime.ray.options import RayOptions  # noqa: E402
from cinemae.runtime.ray.scan import scan_on_ray  # noqa: E402
from cinemae.runtime.ray.shards import read_shard  # noqa: E402
from cinemae.runtime.ray.storage import Folder  # noqa: E402
from cinemae.runtime.scan.inputs import Inputs  # noqa: E402
from cinemae.runtime.scoring.detector import Detector  # noqa: E402
from cinemae.runtime.scoring.options import ScoringOptions  # noqa: E402
from cinemae.runtime.scoring.record import to_dict  # noqa: E402
from serve_tools import encode, picture, wait_for  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
BATCH_LOGIT_TOLERANCE = 1e-4
"""Units form other batches than a local run; logits of the tiny engine are of order 1."""
IMAGES = 300


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """300 images and a damaged one."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(IMAGES):
        (folder / f"{seed:04d}.jpg").write_bytes(encode(picture(seed, 120, 90), "JPEG"))
    (folder / "0100b.jpg").write_bytes(b"junk")
    return folder


@pytest.fixture(scope="module")
def local(photos, tiny_engine):
    with Detector.load(tiny_engine, device="cpu", threads=1) as detector:
        return [to_dict(record) for record in detector.detect_many(Inputs([str(photos)]))]


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(num_cpus=2, object_store_memory=1 << 27, **quiet)
    except Exception:  # Ray gives a node 30 seconds to come up, too few on a machine that is busy otherwise
        ray.shutdown()
        ray.init(num_cpus=2, object_store_memory=1 << 27, **quiet)
    yield
    ray.shutdown()


def options(photos, out, engine, **changes):
    of_scoring = {name: changes.pop(name) for name in ("threshold", "prior") if name in changes}
    scoring = ScoringOptions(engine=engine, device="cpu", threads=1, **of_scoring)
    values = {"inputs": (str(photos),), "out": str(out), "scoring": scoring, "actors": 2, "quiet": True, **changes}
    return RayOptions(**values)


def found_records(out):
    shards = [name.removeprefix("part-").partition(".") for name in sorted(shards_in(out))]
    return [to_dict(record) for index, _, kind in shards for record in read_shard(Folder(str(out)), int(index), kind)]


def assert_same(found, local):
    assert [record["path"] for record in found] == [record["path"] for record in local]
    for ours, theirs in zip(found, local, strict=True):
        for name in set(theirs) - {"path", "verdict", "probability", "likelihood_ratio", "logit", "stats"}:
            assert ours[name] == theirs[name]
        if theirs["logit"] is not None:
            assert abs(ours["logit"] - theirs["logit"]) <= BATCH_LOGIT_TOLERANCE
            if abs(theirs["logit"]) > BATCH_LOGIT_TOLERANCE:
                assert ours["verdict"] == theirs["verdict"]


def actors_of(process):
    """Process ids of scoring actors that descend from `process`."""
    parents, scoring = {}, []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):  # it has ended
            parents[int(entry)] = int(Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1])
            if "ScoreUnits" in Path("/proc", entry, "cmdline").read_text():
                scoring.append(int(entry))

    def is_below(candidate):
        return candidate == process or (candidate in parents and is_below(parents[candidate]))

    return list(filter(is_below, scoring))


def shards_in(out):
    return [name for name in os.listdir(out) if name.startswith("part-")] if out.is_dir() else []


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds processes through /proc")
def test_a_killed_worker_loses_nothing(cluster, photos, local, tiny_engine, tmp_path):
    out = tmp_path / "out"
    codes = []
    thread = threading.Thread(target=lambda: codes.append(scan_on_ray(options(photos, out, tiny_engine, batch_size=1))))
    thread.start()
    wait_for(lambda: shards_in(out) and actors_of(os.getpid()))
    victim = actors_of(os.getpid())[0]
    os.kill(victim, signal.SIGKILL)
    done_at_kill = len(shards_in(out))
    thread.join(120)
    assert codes == [1]
    summary = json.loads((out / "summary.json").read_text())
    assert done_at_kill < summary["shards"]
    assert (summary["records"], summary["failed"]) == (IMAGES + 1, 1)
    assert_same(found_records(out), local)


def test_a_killed_driver_is_continued(cluster, photos, local, tiny_engine, tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "cinemae", "ray", "--address", ray.get_runtime_context().gcs_address,
        "--out", str(out),
        "--engine", str(tiny_engine), "--device", "cpu", "--threads", "1", "--batch-size", "1", "--actors", "1",
        "--format", "parquet", "-q", str(photos),
    ]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: shards_in(out) or driver.poll() is not None)
    driver.kill()
    driver.communicate()
    before = {name: (out / name).stat().st_mtime_ns for name in shards_in(out)}
    assert before
    assert not (out / "summary.json").exists()
    with pytest.raises(UsageError, match="--resume"):
        scan_on_ray(options(photos, out, tiny_engine, format="parquet"))
    for changed in ({"threshold": 0.9}, {"prior": 0.9}):
        with pytest.raises(UsageError, match="differs in run"):
            scan_on_ray(options(photos, out, tiny_engine, format="parquet", resume=True, **changed))
    assert scan_on_ray(options(photos, out, tiny_engine, format="parquet", resume=True)) == 1
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert_same(found_records(out), local)


def test_an_engine_that_fails_in_a_worker_is_the_runs_error(cluster, photos, tiny_engine, tmp_path, monkeypatch):
    engine = tmp_path / "engine.onnx"
    data = bytearray(tiny_engine.read_bytes())
    data[len(data) // 3] ^= 0xFF
    engine.write_bytes(data)
    with pytest.raises(EngineError, match=r"engine\.onnx"):
        scan_on_ray(options(photos, tmp_path / "out", engine, actors=1))


def test_ray_serve_answers_like_a_local_run(cluster, photos, local, tiny_engine):
    serve = pytest.importorskip("ray.serve", reason="needs ray[serve]")
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("fastapi", reason="needs the serve extra")
    from cinemae.runtime.ray.serve import deployment
    from cinemae.runtime.serve.options import ServedScoring, ServeOptions

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    try:
        scoring = ServedScoring(engine=tiny_engine, device="cpu", threads=1, frames=4)  # as the local run
        chosen = ServeOptions(scoring=scoring, drain=0, ray="auto", replicas=2)
        serve.run(deployment(chosen), name="cinemae", route_prefix="/")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client, ThreadPoolExecutor(8) as pool:

            def ask(record):
                with open(record["path"], "rb") as file:
                    answer = client.post("/v1/detect", params={"name": record["path"]}, content=file.read())
                return answer.json()["records"][0]

            assert_same(list(pool.map(ask, local[80:120])), local[80:120])
            assert client.get("/").status_code == 200
    finally:
        serve.shutdown()


def test_relative_inputs_and_tars_from_the_drivers_folder(cluster, photos, local, tiny_engine, tmp_path, monkeypatch):
    monkeypatch.chdir(photos.parent)
    with tarfile.open(tmp_path / "some.tar", "w") as archive:
        for record in local[:5]:
            archive.add(record["path"], os.path.basename(record["path"]))
    chosen = options(photos.name, "relative-out", tiny_engine, batch_size=4)
    chosen = replace(chosen, inputs=(*(f"{photos.name}/{i:04d}.jpg" for i in range(20)), str(tmp_path / "some.tar")))
    assert scan_on_ray(chosen) == 0
    found = found_records(photos.parent / "relative-out")
    assert [record["path"] for record in found[:20]] == list(chosen.inputs[:20])
    assert [record["sha256"] for record in found[:20]] == [record["sha256"] for record in local[:20]]
    assert [record["sha256"] for record in found[20:]] == [record["sha256"] for record in local[:5]]


def test_an_extraction_fills_the_cache_of_a_local_one(cluster, image_tree, tiny_weights, tmp_path):
    from cinemae.runtime.core.manifest import MethodConfig
    from cinemae.train.data.samples import read_samples
    from cinemae.train.features.cache import FeatureCache
    from cinemae.train.features.cache_spec import CacheSpec
    from cinemae.train.features.extract import extract, preprocess_for
    from cinemae.train.features.ray_extract import extract_on_ray
    from cinemae.train.weights.load import load_backbone

    samples = read_samples(image_tree)
    loaded = load_backbone(str(tiny_weights))
    spec = CacheSpec.create(loaded.info, preprocess_for(loaded.info.config), MethodConfig())
    local_report = extract(samples, lambda: loaded.mae, spec, tmp_path / "local", batch_size=8, workers=1, quiet=True)
    machine = {"batch_size": 8, "workers": 1, "device": "cpu"}
    report = extract_on_ray("auto", samples, str(tiny_weights), spec, tmp_path / "ray", **machine)
    assert report.computed + report.copied == local_report.computed + local_report.copied
    again = extract_on_ray("auto", samples, str(tiny_weights), spec, tmp_path / "ray", **machine)
    assert (again.computed, again.reused) == (0, len(samples))
    ours, theirs = FeatureCache(report.folder, None), FeatureCache(local_report.folder, None)
    assert report.folder.name == local_report.folder.name
    assert sorted(row.path for row in ours.rows) == sorted(row.path for row in theirs.rows)


def test_no_cluster_is_one_line(tmp_path, tiny_engine):
    result = subprocess.run(
        [sys.executable, "-m", "cinemae", "ray", "--address", "127.0.0.1:1", "--out", str(tmp_path / "out"),
         "--engine", str(tiny_engine), "x.png"],
        capture_output=True, text=True, timeout=100, check=False,
    )
    assert result.returncode == 3
    assert "127.0.0.1:1" in result.stderr
    assert "Traceback" not in result.stderr
