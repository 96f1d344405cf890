"""`scan`: records in input order, formats, exit codes, contradicting options, heatmaps, report, failing outputs."""

import csv
import io
import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from cinemae.runtime.core.errors import EngineError, UsageError
from cinemae.runtime.core.text import printable
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.options import ScanOptions, WatchOptions
from cinemae.runtime.scan.scan import scan
from cinemae.runtime.scoring.heatmap import is_heatmap
from cinemae.runtime.scoring.record import FLAT_FIELDS, RECORD_FIELDS
from moving_pictures import animation, frames_of
from pictures import encoded, five_pictures, json_lines, picture
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scans import scan_options


@pytest.fixture
def images(tmp_path):
    return five_pictures(tmp_path / "images")


@pytest.fixture
def run(tiny_engine):
    def go(*inputs, **changes):
        return scan(scan_options(*inputs, **{"engine": tiny_engine, **changes}))

    return go


@pytest.fixture
def records(run, capsysbinary):
    """Runs, and reads the JSON lines on standard output."""

    def go(*inputs, **changes):
        capsysbinary.readouterr()
        run(*inputs, **changes)
        return json_lines(capsysbinary.readouterr().out)

    return go


def test_records_in_input_order_with_every_field(images, run, capsysbinary):
    assert run(images / "2.png", images, images / "2.png") == 1
    output, messages = capsysbinary.readouterr()
    records = json_lines(output)
    assert [Path(record["path"]).name for record in records] == ["2.png", *(f"{i}.png" for i in range(5)), "2.png"]
    assert all(tuple(record) == RECORD_FIELDS for record in records)
    assert [record["status"] for record in records] == ["ok"] * 4 + ["error"] + ["ok"] * 2
    assert records[0] == records[-1]
    assert b"7 inputs" in messages
    assert b"1 failed" in messages


def test_json_and_csv(images, run, records, tmp_path, capsysbinary):
    expected = records(images)
    for name in ("a.json", "a.csv", "a.jsonl", "a.txt"):
        run(images, out=tmp_path / "deep" / name)
    assert capsysbinary.readouterr().out == b""
    assert json.loads((tmp_path / "deep/a.json").read_text("utf-8")) == expected
    for name in ("a.jsonl", "a.txt"):
        assert json_lines((tmp_path / "deep" / name).read_bytes()) == expected
    rows = list(csv.DictReader((tmp_path / "deep/a.csv").open(encoding="utf-8", newline="")))
    assert tuple(rows[0]) == FLAT_FIELDS
    for row, record in zip(rows, expected, strict=True):
        error = record["error"] or {"text": "", "kind": ""}
        assert (row["path"], row["error"], row["error_kind"]) == (record["path"], error["text"], error["kind"])
        assert row["engine"] == record["run"]["engine"]
        assert row["reason_codes"].split() == [reason["code"] for reason in record["reasons"]]
        if record["status"] == "ok":
            assert (float(row["logit"]), float(row["s2"])) == (record["logit"], record["stats"]["s2"])
    for name in ("json", "csv"):  # streamed
        run(images, format=name)
        text = capsysbinary.readouterr().out.decode()
        assert (json.loads(text) if name == "json" else list(csv.DictReader(io.StringIO(text)))) == (
            expected if name == "json" else rows
        )


def test_csv_with_a_mark_for_excel_is_replaced_like_any_other(images, run, tmp_path, capsysbinary):
    out = tmp_path / "a.csv"
    for marked in (True, False):
        run(images, out=out, csv_bom=marked)
        assert out.read_bytes().startswith(b"\xef\xbb\xbfpath,status,") == marked
    run(images, format="csv", csv_bom=True)
    assert capsysbinary.readouterr().out == b"\xef\xbb\xbf" + out.read_bytes()


def test_threshold_and_fail_on_ai(images, run, capsysbinary):
    (images / "3.png").unlink()
    for threshold, code, verdict in ((0.0001, 4, "ai"), (0.9999, 0, "real")):
        assert run(images, threshold=threshold, fail_on_ai=True) == code
        assert {record["verdict"] for record in json_lines(capsysbinary.readouterr().out)} == {verdict}


def test_fail_on_declared(images, run, capsysbinary):
    assert run(images / "0.png", fail_on_declared=True) == 0
    text = PngInfo()
    text.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64")
    with Image.open(images / "0.png") as image:
        image.save(images / "0.png", pnginfo=text)
    assert run(images / "0.png", fail_on_declared=True) == 4
    assert b"; 1 file declares AI;" in capsysbinary.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        {"resume": True}, {"resume": True, "out": "o.csv"}, {"resume": True, "out": "o.jsonl", "overwrite": True},
        {"resume": True, "out": "/dev/null"}, {"stdin_image": True}, {"format": "xml"}, {"batch_size": 0},
        {"workers": 0}, {"csv_bom": True}, {"sort": "suspicion"}, {"sort": "size"},
        pytest.param({"format": "parquet"}, marks=pytest.mark.skipif(not find_spec("pyarrow"), reason="needs pyarrow")),
    ],
)
def test_options_that_contradict_each_other(wrong):
    with pytest.raises(UsageError):
        ScanOptions(inputs=("a",), **{k: Path(v) if k in ("out", "report") else v for k, v in wrong.items()}
                    ).output_format(terminal=False)


@pytest.mark.parametrize(
    ("given", "terminal", "expected"),
    [({}, True, "table"), ({}, False, "jsonl"), ({"out": "o.CSV"}, True, "csv"), ({"out": "o.txt"}, True, "jsonl"),
     ({"out": "o.txt", "format": "json"}, True, "json"), ({"format": "csv"}, True, "csv")],
)
@pytest.mark.parametrize("kind", [ScanOptions, WatchOptions])
def test_the_format_follows_from_option_suffix_and_terminal(kind, given, terminal, expected):
    options = kind(inputs=("a",), **given | ({"out": Path(given["out"])} if "out" in given else {}))
    if kind is WatchOptions and "out" in given and expected != "jsonl":  # records are appended
        with pytest.raises(UsageError):
            options.output_format(terminal)
    else:
        assert options.output_format(terminal) == expected


def test_nothing_to_score_is_a_usage_error_that_says_why(tmp_path, run, capsysbinary):
    for name in ("a.pdf", "b.pdf", "c.txt"):
        (tmp_path / name).write_bytes(b"%PDF")
    out, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    out.write_bytes(earlier := b'{"path": "earlier", "status": "ok"}\n')
    with pytest.raises(UsageError, match=r"no image to score; . files skipped .*: \.pdf 2, .*--allow-empty"):
        run(tmp_path, out=out, report=page, fail_on_ai=True, quiet=True)
    assert out.read_bytes() == earlier
    for resume in (False, True):
        with pytest.raises(UsageError):
            run(tmp_path, out=tmp_path / "new.jsonl", resume=resume)
    assert {path.name for path in tmp_path.iterdir()} == {"a.pdf", "b.pdf", "c.txt", "out.jsonl"}
    assert capsysbinary.readouterr().out == b""


def test_allow_empty(tmp_path, run, capsysbinary):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    assert run(tmp_path, allow_empty=True) == 0
    output, messages = capsysbinary.readouterr()
    assert output == b""
    assert b"holds no images" in messages
    assert b"1 file skipped (no images): .pdf 1" in messages
    assert run(tmp_path, allow_empty=True, out=tmp_path / "new.jsonl") == 0
    assert (tmp_path / "new.jsonl").read_bytes() == b""


def test_file_that_vanishes_between_listing_and_reading(images, records, monkeypatch):
    iterate = Inputs.__iter__

    def vanishing(self):
        for item in iterate(self):
            if item.name.endswith("4.png"):
                os.unlink(item.name)
            yield item

    monkeypatch.setattr(Inputs, "__iter__", vanishing)
    found = records(images, quiet=True)
    assert (len(found), found[4]["error"]["kind"]) == (5, "missing")


def test_hostile_names_give_valid_json_and_a_harmless_table(tmp_path, records):
    raw = b"new\nline \x1b[31m \xff.png"
    with open(os.path.join(os.fsencode(tmp_path), raw), "wb") as file:
        file.write(encoded(picture()))
    (record,) = records(tmp_path)
    assert record["path"].endswith("new\nline \x1b[31m \\xff.png")
    record["path"].encode("utf-8")
    assert "\x1b" not in printable(record["path"])
    assert printable("grün 日本") == "grün 日本"


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_names_that_no_file_can_have(tmp_path, run, suffix):
    """Windows' names may hold a lone surrogate, and so may those that a program passes."""
    names = ["\ud800.png", "a\udc00*", "\udfff.zip", "\udbff/", "file:///\ud800", "http://\ud800/"]
    (tmp_path / "ok.png").write_bytes(encoded(picture()))
    outputs = {"out": tmp_path / f"out.{suffix}", "report": tmp_path / "r.html", "heatmaps": tmp_path / "heat"}
    assert run(*names, tmp_path / "ok.png", **outputs) == 1
    found = (tmp_path / f"out.{suffix}").read_text(encoding="utf-8")
    assert found.count("\n") == 7 + (suffix == "csv")
    assert all(mark in found for mark in ("ud800.png", "udc00*", "udfff.zip", "udbff/"))
    with pytest.raises(UsageError, match="no such list"):
        run("@\ud800.png", **outputs)


def test_heatmaps_and_report(images, run, records, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    heat, page = tmp_path / "heat", tmp_path / "page.html"
    run("images", heatmaps=heat, report=page)
    drawn = sorted(str(path.relative_to(heat)) for path in heat.rglob("*.png"))
    assert drawn == [f"{i}.png.lcas.png" for i in (0, 1, 2, 4)]
    assert page.read_text("utf-8").count("images/") >= 5
    with pytest.raises(UsageError, match="holds the input"):
        run("images", heatmaps=tmp_path)
    for _ in range(2):  # heatmaps are no inputs
        assert len(records("images", heatmaps=Path("images/heat"), quiet=True)) == 5


def test_animations_name_their_frames(images, run, tmp_path):
    (images / "0.png").write_bytes(animation("GIF", frames_of(5)))
    outputs = {"out": tmp_path / "o.csv", "heatmaps": tmp_path / "heat", "report": tmp_path / "r.html"}
    run(images / "0.png", images / "1.png", quiet=True, **outputs)
    moving, still = csv.DictReader((tmp_path / "o.csv").open(encoding="utf-8", newline=""))
    frames = json.loads(moving["frames"])
    assert [frame["index"] for frame in frames["scored"]] == [0, 1, 3, 4]
    assert float(moving["logit"]) == max(frame["logit"] for frame in frames["scored"])
    assert still["frames"] == ""
    assert all(map(is_heatmap, (tmp_path / "heat").rglob("*.png")))
    assert "most suspicious of 4" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_an_engine_that_dies_leaves_the_old_file(images, run, tmp_path, monkeypatch):
    def fail(*arguments):
        raise EngineError("the engine died")

    monkeypatch.setattr("cinemae.runtime.scoring.detector.Detector._begin", fail)
    (tmp_path / "a.json").write_text("[]\n")
    with pytest.raises(EngineError):
        run(images, out=tmp_path / "a.json")
    assert [path.read_text() for path in tmp_path.glob("*a.json*")] == ["[]\n"]


def test_progress_counts_in_the_background(images, run, monkeypatch, capsysbinary):
    counts = []
    monkeypatch.setattr("cinemae.runtime.core.progress.LOG_SECONDS", 0.0)
    monkeypatch.setattr("cinemae.runtime.core.progress.Progress._find_total", lambda self, count: counts.append(count))
    run(images, batch_size=1)
    assert b"5 inputs, " in capsysbinary.readouterr().err
    assert [count() for count in counts] == [5]


def test_copy_of_an_engine_under_another_name_is_the_same_engine(images, records, tiny_engine, tmp_path):
    assert records(images) == records(images, engine=shutil.copy(tiny_engine, tmp_path / "other.onnx"))
