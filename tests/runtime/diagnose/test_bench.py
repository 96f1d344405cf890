"""The benchmark measures what it says: order of runs, percentiles, ratios, a JSON that reads back."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
from cinemae.runtime.cli.bench import app
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.manifest import Preprocess
from cinemae.runtime.diagnose.bench import bench, interleave, measure_decoding, synthetic_jpeg
from cinemae.runtime.diagnose.bench_result import table, timing
from cinemae.runtime.diagnose.options import BenchOptions, numbers
from commands import outcome
from PIL import Image
from report_samples import manifest, picture
from steady_engine import SteadyEngine

BRIEF = 0.01


@pytest.fixture
def engines(monkeypatch, tiny_config):
    made = []

    def load(path, device, threads, precision):
        made.append(SteadyEngine(manifest(tiny_config)))
        made[-1].path = path
        return made[-1]

    monkeypatch.setattr("cinemae.runtime.diagnose.bench.load_engine", load)
    return made


def test_calls_are_interleaved_and_the_order_turns():
    log = []
    times = interleave([lambda: log.append("a"), lambda: log.append("b")], seconds=1e-9, min_rounds=4)
    assert times.shape == (4, 2)
    assert "".join(log[4:]) == "abbaabba"  # after two warm-up calls each


def test_timing():
    found = timing([0.001] * 95 + [0.1] * 5)
    assert found.p50_ms == pytest.approx(1)
    assert 1 <= found.p95_ms <= 100
    assert found.mean_ms == pytest.approx(5.95)
    assert found.count == 100


def test_decoding_is_timed_and_bad_files_are_left_out(tmp_path):
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    sources = [str(tmp_path / "a.png"), str(tmp_path / "b.png"), synthetic_jpeg()]
    decoding, preparing, pixels = measure_decoding(sources, Preprocess(resize_short=72, crop=64))
    assert decoding.count == preparing.count == 2
    assert pixels.shape == (2, 64, 64, 3)
    with pytest.raises(UsageError, match=r"b\.png"):
        measure_decoding(sources[1:2], Preprocess())


def test_rendered_jpeg_costs_what_a_photograph_costs():
    data = synthetic_jpeg()
    assert data == synthetic_jpeg()
    assert 300_000 < len(data) < 3_000_000


def test_bench_compares_engines_in_one_run(engines):
    result = bench(BenchOptions(baseline=("base.onnx",), batch_sizes=(1, 3), seconds=BRIEF))
    assert [(row.path, row.batch, row.ratio is None) for row in result.inference] == [
        ("None", 1, False), ("base.onnx", 1, True), ("None", 3, False), ("base.onnx", 3, True),
    ]
    for row in result.inference:
        assert row.images_per_s == pytest.approx(row.batch / row.timing.p50_ms * 1000)
        assert row.timing.p50_ms <= row.timing.p95_ms
    assert [pipe.images >= 12 for pipe in result.pipeline] == [True, True]
    assert set(engines[0].batches) >= {1, 3}
    assert set(engines[1].batches) == {1, 3}
    assert all(engine.closed for engine in engines)
    text = table(result)
    assert "x baseline" in text
    assert min(result.product_ms[precision] for precision in ("fp32", "int8")) > 0
    assert f"one product of ViT-L here: {result.product_ms['fp32']:.0f} ms in float32" in text
    assert text.count("sample@") == 4
    assert json.loads(json.dumps(asdict(result)))["inference"][0]["batch"] == 1


def test_threads_are_measured_one_after_the_other(engines):
    result = bench(BenchOptions(batch_sizes=(1,), threads=(1, 2), seconds=BRIEF))
    assert [row.threads for row in result.inference] == [1, 2]
    assert [row.ratio for row in result.inference] == [None, None]


def test_usage_errors(engines, tmp_path):
    for options in ({"batch_sizes": (0,)}, {"workers": 0}, {"seconds": math.inf}):
        with pytest.raises(UsageError):
            BenchOptions(**options)
    with pytest.raises(UsageError, match="none of the inputs"):
        bench(BenchOptions(seconds=BRIEF), [str(tmp_path / "gone.jpg")])
    assert engines[-1].closed
    with pytest.raises(UsageError, match="no memory for a batch of 100,000,000,000 images"):
        bench(BenchOptions(batch_sizes=(10**11,), seconds=BRIEF))
    for text in ("0", "a", "1,,2", ""):
        with pytest.raises(UsageError, match="--batch-sizes"):
            numbers("--batch-sizes")(text)
    assert numbers("--threads")("1,8") == (1, 8)


def test_command(tiny_engine, tmp_path, capsys):
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    out = tmp_path / "bench.json"
    of_run = ("--device", "cpu", "--seconds", BRIEF, "--threads", "1", "--batch-sizes", "1,2")
    arguments = [tmp_path, *of_run, "--out", out]
    code, printed, _ = outcome(capsys, app, *arguments, "--engine", tiny_engine, "--json")
    assert code == 0
    assert json.loads(printed) == json.loads(out.read_text())
    assert json.loads(printed)["inputs"] == "1 files"
    code, _, err = outcome(capsys, app, *arguments, "--engine", "no.onnx")
    assert (code, err.splitlines()[-1]) == (3, "error: no.onnx: no such engine file")


@pytest.mark.parametrize("out", ["photo.jpg", "package.json", ".", "photo.jpg/x.json"])
def test_the_output_replaces_no_other_file(tiny_engine, tmp_path, capsys, out):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8 an image")
    (tmp_path / "package.json").write_text('{\n  "name": "mine"\n}\n')
    code, printed, err = outcome(capsys, app, "--engine", tiny_engine, "--out", tmp_path / out)
    assert (code, printed, err.count("\n")) == (3, "", 1)
    assert (tmp_path / "photo.jpg").read_bytes() == b"\xff\xd8 an image"
    assert "mine" in (tmp_path / "package.json").read_text()
