"""`scan`: records in input order, formats, exit codes, contradicting options, heatmaps, report, failing outputs."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest
from cinemae.runtime.core.errors import EngineError, OutputError, UsageError
from cinemae.runtime.core.manifest import Manifest
from cinemae.runtime.core.text import printable
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from cinemae.runtime.scan import scan as scan_module
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.scan import ScanOptions, output_format, scan
from cinemae.runtime.scan.writers import CSV_COLUMNS
from cinemae.runtime.scoring.detector import Detector
from cinemae.runtime.scoring.record import RECORD_FIELDS
from pictures import encoded, five_pictures, json_lines, picture


@pytest.fixture
def images(tmp_path):
    return five_pictures(tmp_path / "images")


def options(inputs, engine, **changes):
    return ScanOptions(inputs=tuple(map(str, inputs)), engine=engine, device="cpu", threads=1, **changes)


def test_records_in_input_order_with_every_field(images, tiny_engine, capsysbinary):
    code = scan(options([images / "2.png", images, images / "2.png"], tiny_engine))
    output, messages = capsysbinary.readouterr()
    records = json_lines(output)
    assert code == 1
    assert [Path(record["path"]).name for record in records] == ["2.png", *(f"{i}.png" for i in range(5)), "2.png"]
    assert all(tuple(record) == RECORD_FIELDS for record in records)
    assert [record["status"] for record in records] == ["ok"] * 4 + ["error"] + ["ok"] * 2
    assert records[0] == records[-1]
    assert b"7 inputs" in messages
    assert b"1 failed" in messages


def test_json_and_csv(images, tiny_engine, tmp_path, capsysbinary):
    scan(options([images], tiny_engine))
    expected = json_lines(capsysbinary.readouterr().out)
    for name in ("a.json", "a.csv", "a.jsonl", "a.txt"):
        scan(options([images], tiny_engine, out=tmp_path / "deep" / name))
    assert capsysbinary.readouterr().out == b""
    assert json.loads((tmp_path / "deep/a.json").read_text("utf-8")) == expected
    for name in ("a.jsonl", "a.txt"):
        assert json_lines((tmp_path / "deep" / name).read_bytes()) == expected
    rows = list(csv.DictReader((tmp_path / "deep/a.csv").open(encoding="utf-8", newline="")))
    assert tuple(rows[0]) == CSV_COLUMNS
    for row, record in zip(rows, expected, strict=True):
        assert row["path"] == record["path"]
        assert row["error"] == (record["error"] or "")
        if record["status"] == "ok":
            assert (float(row["logit"]), float(row["s2"])) == (record["logit"], record["stats"]["s2"])
    scan(options([tmp_path / "no.jpg"], tiny_engine, format="json"))
    assert json.loads(capsysbinary.readouterr().out)[0]["status"] == "error"


def test_stdout_formats_stream(images, tiny_engine, capsysbinary):
    for name in ("json", "csv"):
        scan(options([images], tiny_engine, format=name))
        text = capsysbinary.readouterr().out.decode()
        found = json.loads(text) if name == "json" else list(csv.DictReader(io.StringIO(text)))
        assert len(found) == 5


def test_an_unknown_device_is_refused_before_the_engine_is_read(tmp_path):
    with pytest.raises(UsageError, match="unknown device 'abacus': use one of auto, cpu"):
        Detector.load(tmp_path / "missing.onnx", "abacus", background=True)


def test_threshold_and_fail_on_ai(images, tiny_engine, tmp_path, capsysbinary):
    (images / "3.png").unlink()
    assert scan(options([images], tiny_engine, threshold=0.0001, fail_on_ai=True)) == 4
    assert {record["verdict"] for record in json_lines(capsysbinary.readouterr().out)} == {"ai"}
    assert scan(options([images], tiny_engine, threshold=0.9999, fail_on_ai=True)) == 0
    assert {record["verdict"] for record in json_lines(capsysbinary.readouterr().out)} == {"real"}


def test_prior_is_in_the_records(images, tiny_engine, capsysbinary):
    scan(options([images], tiny_engine))
    scan(options([images], tiny_engine, prior=0.01))
    found = json_lines(capsysbinary.readouterr().out)
    for even, rare in zip(found[:5], found[5:], strict=True):
        assert (even["prior"], rare["prior"], rare["verdict"]) == (0.5, 0.01, even["verdict"])
        assert rare["ai_from"] < even["ai_from"]
        assert rare["status"] == "error" or rare["probability"] < even["probability"]
    with pytest.raises(UsageError, match="prior"):
        scan(options([images], tiny_engine, prior=0.0))


def test_explicit_device_that_is_absent_is_an_error(images, tiny_engine):
    if "CUDAExecutionProvider" in import_onnxruntime().get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(Exception, match="not usable") as caught:
        scan(ScanOptions((str(images),), tiny_engine, device="cuda"))
    assert caught.value.exit_code == 3


def test_options_that_contradict_each_other(tmp_path, tiny_engine):
    out = tmp_path / "o.csv"
    for changes in ({"resume": True}, {"resume": True, "out": out},
                    {"resume": True, "out": tmp_path / "o.jsonl", "report": tmp_path / "r.html"}):
        with pytest.raises(UsageError):
            output_format(ScanOptions(("a",), **changes), terminal=False)
    assert output_format(ScanOptions(("a",)), terminal=True) == "table"
    assert output_format(ScanOptions(("a",), out=out), terminal=True) == "csv"
    with pytest.raises(OutputError, match="names a file"):
        scan(options(["a"], tiny_engine, out=tmp_path))
    for changes in ({"batch_size": 0}, {"workers": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            scan(options(["a"], tiny_engine, **changes))


def test_engine_names_itself_and_a_demonstration_says_so(images, tiny_engine, tmp_path, capsysbinary):
    onnx = pytest.importorskip("onnx")
    from cinemae.runtime.core.manifest import METADATA_KEY
    from cinemae.runtime.engines.file.integrity import seal

    demo = tmp_path / "demo.onnx"
    model = onnx.load(tiny_engine)
    (entry,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
    entry.value = entry.value.replace('"demonstration":false', '"demonstration":true')
    onnx.save(model, demo)
    short = seal(demo)[:12]
    scan(options([images], demo))
    output, messages = capsysbinary.readouterr()
    assert {record["engine"] for record in json_lines(output)} == {f"tiny-test@{short} (demonstration)"}
    assert messages.count(b"demonstration") == 1


def test_nothing_to_score_is_a_usage_error_that_says_why(tmp_path, tiny_engine, capsysbinary):
    for name in ("a.pdf", "b.pdf", "c.txt"):
        (tmp_path / name).write_bytes(b"%PDF")
    out, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    out.write_bytes(earlier := b'{"path": "earlier", "status": "ok"}\n')
    with pytest.raises(UsageError, match=r"no image to score; . files skipped .*: \.pdf 2, .*--allow-empty"):
        scan(options([tmp_path], tiny_engine, out=out, report=page, fail_on_ai=True, quiet=True))
    assert out.read_bytes() == earlier
    assert {path.name for path in tmp_path.iterdir()} == {"a.pdf", "b.pdf", "c.txt", "out.jsonl"}
    with pytest.raises(UsageError, match="no image to score"):
        scan(options([tmp_path], tiny_engine, out=tmp_path / "new.jsonl"))
    assert not (tmp_path / "new.jsonl").exists()
    assert capsysbinary.readouterr().out == b""


def test_allow_empty(tmp_path, tiny_engine, capsysbinary):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    assert scan(options([tmp_path], tiny_engine, allow_empty=True)) == 0
    output, messages = capsysbinary.readouterr()
    assert output == b""
    assert b"holds no images" in messages
    assert b"1 file skipped (no images): .pdf 1" in messages
    assert scan(options([tmp_path], tiny_engine, allow_empty=True, out=tmp_path / "new.jsonl")) == 0
    assert (tmp_path / "new.jsonl").read_bytes() == b""


def test_file_that_vanishes_between_listing_and_reading(images, tiny_engine, capsysbinary, monkeypatch):
    iterate = Inputs.__iter__

    def vanishing(self):
        for item in iterate(self):
            if item.path.endswith("4.png"):
                os.unlink(item.path)
            yield item

    monkeypatch.setattr(Inputs, "__iter__", vanishing)
    assert scan(options([images], tiny_engine, quiet=True)) == 1
    records = json_lines(capsysbinary.readouterr().out)
    assert len(records) == 5
    assert records[4]["error"] == "no such file or folder"


def test_hostile_names_give_valid_json_and_a_harmless_table(tmp_path, tiny_engine, capsysbinary):
    raw = b"new\nline \x1b[31m \xff.png"
    with open(os.path.join(os.fsencode(tmp_path), raw), "wb") as file:
        file.write(encoded(picture()))
    assert scan(options([tmp_path], tiny_engine)) == 0
    (record,) = json_lines(capsysbinary.readouterr().out)
    assert record["path"].endswith("new\nline \x1b[31m \\xff.png")
    record["path"].encode("utf-8")
    assert "\x1b" not in printable(record["path"])
    assert printable("grün 日本") == "grün 日本"


def test_heatmaps_and_report(images, tiny_engine, tmp_path, monkeypatch, capsysbinary):
    monkeypatch.chdir(tmp_path)
    heat, page = tmp_path / "heat", tmp_path / "page.html"
    scan(options(["images"], tiny_engine, heatmaps=heat, report=page))
    assert sorted(str(path.relative_to(heat)) for path in heat.rglob("*.png")) == [
        f"{i}.png.lcas.png" for i in (0, 1, 2, 4)
    ]
    assert page.read_text("utf-8").count("images/") >= 5
    with pytest.raises(UsageError, match="holds the input"):
        scan(options(["images"], tiny_engine, heatmaps=tmp_path))
    inside = Path("images/heat")
    scan(options(["images"], tiny_engine, heatmaps=inside, quiet=True))
    capsysbinary.readouterr()
    scan(options(["images"], tiny_engine, heatmaps=inside, quiet=True))
    assert len(json_lines(capsysbinary.readouterr().out)) == 5


def test_heatmap_that_cannot_be_saved_costs_no_record(images, tiny_engine, tmp_path, monkeypatch, capsysbinary):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "heat").mkdir()
    (tmp_path / "heat/0.png.lcas.png").write_bytes(b"somebody's file")
    assert scan(options(["images"], tiny_engine, heatmaps=Path("heat"))) == 1
    output, messages = capsysbinary.readouterr()
    assert len(json_lines(output)) == 5
    assert messages.count(b"warning: no heatmap") == 1
    assert (tmp_path / "heat/0.png.lcas.png").read_bytes() == b"somebody's file"


def test_failed_run_leaves_the_old_json(images, tiny_engine, tmp_path, monkeypatch):
    out = tmp_path / "a.json"
    out.write_text("[]\n")

    def fail(*arguments):
        raise EngineError("the engine died")

    monkeypatch.setattr("cinemae.runtime.scoring.detector.Detector._begin", fail)
    with pytest.raises(EngineError):
        scan(options([images], tiny_engine, out=out))
    assert out.read_text() == "[]\n"
    assert list(tmp_path.glob(".a.json*")) == []


def test_full_disk_is_one_clear_error(images, tiny_engine, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(scan_module, "_writer", lambda *a: scan_module.stdout_writer(Full(), "jsonl"))
    with pytest.raises(OutputError, match="No space left"):
        scan(options([images], tiny_engine))


def test_progress_counts_in_the_background(images, tiny_engine, monkeypatch, capsysbinary):
    monkeypatch.setattr("cinemae.runtime.core.progress.LOG_SECONDS", 0.0)
    scan(options([images], tiny_engine, batch_size=1))
    assert b"inputs, " in capsysbinary.readouterr().err


def test_manifest_of_the_engine_is_the_exported_one(tiny_engine):
    from cinemae.runtime.engines.load import read_engine_manifest

    manifest = read_engine_manifest(tiny_engine)
    assert isinstance(manifest, Manifest)
    assert manifest.kind == "fused"


def test_folder_of_parts_runs_too(images, tiny_parts, tiny_engine, capsysbinary):
    scan(options([images], tiny_parts))
    parts = json_lines(capsysbinary.readouterr().out)
    scan(options([images], tiny_engine))
    fused = json_lines(capsysbinary.readouterr().out)
    for a, b in zip(parts, fused, strict=True):
        assert a["status"] == b["status"]
        if a["status"] == "ok":
            assert abs(a["logit"] - b["logit"]) < 1e-3


def test_copy_of_an_engine_under_another_name_is_the_same_engine(images, tiny_engine, tmp_path, capsysbinary):
    other = shutil.copy(tiny_engine, tmp_path / "other.onnx")
    outputs = []
    for engine in (tiny_engine, other):
        scan(options([images], engine, quiet=True))
        outputs.append(capsysbinary.readouterr().out)
    assert outputs[0] == outputs[1]
