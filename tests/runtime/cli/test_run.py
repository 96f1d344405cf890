"""`cinemae-run` as a process and in place: records, formats, exit codes, messages, determinism, speed of --help."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cinemae.runtime.display_text import printable
from cinemae.runtime.errors import EngineError, OutputError, UsageError
from cinemae.runtime.manifest import Manifest
from cinemae.runtime.records import RECORD_FIELDS
from cinemae.runtime.scan import scan as scan_module
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.scan import ScanOptions, output_format, scan
from cinemae.runtime.scan.tally import Tally
from cinemae.runtime.scan.writers import CSV_COLUMNS
from pictures import cinemae_run, encoded, folder_of, picture

HELP_CPU_SECONDS = 0.5


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.png").write_bytes(encoded(picture(seed=i)))
    (folder / "3.png").write_bytes(b"broken")
    return folder


def options(inputs, engine, **changes):
    return ScanOptions(inputs=tuple(map(str, inputs)), engine=engine, device="cpu", threads=1, **changes)


def lines(data):
    return [json.loads(line) for line in data.splitlines()]


def test_records_in_input_order_with_every_field(images, tiny_engine, capsysbinary):
    code = scan(options([images / "2.png", images, images / "2.png"], tiny_engine))
    output, messages = capsysbinary.readouterr()
    records = lines(output)
    assert code == 1
    assert [Path(record["path"]).name for record in records] == ["2.png", *(f"{i}.png" for i in range(5)), "2.png"]
    assert all(tuple(record) == RECORD_FIELDS for record in records)
    assert [record["status"] for record in records] == ["ok"] * 4 + ["error"] + ["ok"] * 2
    assert records[0] == records[-1]
    assert b"7 inputs" in messages
    assert b"1 failed" in messages


def test_process_end_to_end_and_determinism(images, tiny_engine):
    first, second = (cinemae_run(images, "--engine", tiny_engine, "--batch-size", 2) for _ in range(2))
    assert first.returncode == 1
    assert len(lines(first.stdout)) == 5
    assert first.stdout == second.stdout
    (images / "3.png").unlink()
    quiet = cinemae_run("-", "--engine", tiny_engine, "-q", "-0", input=b"\0".join([b"0.png", b"4.png"]), cwd=images)
    assert quiet.returncode == 0
    assert quiet.stderr == b""
    assert [record["path"] for record in lines(quiet.stdout)] == ["0.png", "4.png"]


def test_json_and_csv(images, tiny_engine, tmp_path, capsysbinary):
    scan(options([images], tiny_engine))
    expected = lines(capsysbinary.readouterr().out)
    for name in ("a.json", "a.csv", "a.jsonl", "a.txt"):
        scan(options([images], tiny_engine, out=tmp_path / "deep" / name))
    assert capsysbinary.readouterr().out == b""
    assert json.loads((tmp_path / "deep/a.json").read_text("utf-8")) == expected
    assert lines((tmp_path / "deep/a.jsonl").read_bytes()) == lines((tmp_path / "deep/a.txt").read_bytes()) == expected
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


def test_exit_codes_of_a_tally():
    assert Tally(real=3).exit_code(fail_on_ai=True) == 0
    assert Tally(ai=1, real=2).exit_code(fail_on_ai=False) == 0
    assert Tally(ai=1, real=2).exit_code(fail_on_ai=True) == 4
    assert Tally(ai=1, failed=1).exit_code(fail_on_ai=True) == 1


def test_threshold_and_fail_on_ai(images, tiny_engine, tmp_path, capsysbinary):
    (images / "3.png").unlink()
    assert scan(options([images], tiny_engine, threshold=0.0001, fail_on_ai=True)) == 4
    assert {record["verdict"] for record in lines(capsysbinary.readouterr().out)} == {"ai"}
    assert scan(options([images], tiny_engine, threshold=0.9999, fail_on_ai=True)) == 0
    assert {record["verdict"] for record in lines(capsysbinary.readouterr().out)} == {"real"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, b"Missing argument"),
        (["a.png", "--format", "xml"], 2, b"unknown format 'xml'"),
        (["a.png", "--threshold", "1.5"], 2, b"between 0 and 1"),
        (["a.png", "--resume"], 2, b"--resume"),
        (["@nowhere.txt"], 2, b"no such list"),
        (["a.png", "--engine", "nowhere.onnx"], 3, b"no such engine file"),
        (["a.png", "--device", "abacus"], 2, b"unknown device"),
    ],
)
def test_user_errors_are_one_line_without_a_traceback(arguments, code, message, tiny_engine):
    if code == 2 and arguments:
        arguments = [*arguments, "--engine", str(tiny_engine)]
    found = cinemae_run(*arguments)
    assert found.returncode == code
    assert found.stdout == b""
    assert message in found.stderr
    assert b"Traceback" not in found.stderr
    if arguments:
        assert found.stderr.startswith(b"error: ")
        assert found.stderr.count(b"\n") == 1


def test_damaged_engine_gives_exit_3_and_touches_no_output(images, tiny_engine, tmp_path):
    broken, out = tmp_path / "broken.onnx", tmp_path / "out.jsonl"
    data = bytearray(tiny_engine.read_bytes())
    data[len(data) // 2] ^= 8
    broken.write_bytes(data)
    out.write_bytes(b"earlier results\n")
    found = cinemae_run(images, "--engine", broken, "--out", out)
    assert found.returncode == 3
    assert found.stderr.startswith(b"error: ")
    assert found.stderr.count(b"\n") == 1
    assert out.read_bytes() == b"earlier results\n"


def test_explicit_device_that_is_absent_is_an_error(images, tiny_engine):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(Exception, match="not usable") as caught:
        scan(ScanOptions((str(images),), tiny_engine, device="cuda"))
    assert caught.value.exit_code == 3


def test_options_that_contradict_each_other(tmp_path, tiny_engine):
    out = tmp_path / "o.csv"
    for changes in ({"resume": True}, {"resume": True, "out": out},
                    {"resume": True, "out": tmp_path / "o.jsonl", "report": tmp_path / "r.html"}):  # fmt: skip
        with pytest.raises(UsageError):
            output_format(ScanOptions(("a",), **changes), terminal=False)
    assert output_format(ScanOptions(("a",)), terminal=True) == "table"
    assert output_format(ScanOptions(("a",), out=out), terminal=True) == "csv"
    with pytest.raises(UsageError, match="names a file"):
        scan(options(["a"], tiny_engine, out=tmp_path))
    for changes in ({"batch_size": 0}, {"workers": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            scan(options(["a"], tiny_engine, **changes))


def test_engine_names_itself_and_a_demonstration_says_so(images, tiny_engine, tmp_path, capsysbinary):
    import onnx
    from cinemae.runtime.engines.integrity import seal
    from cinemae.runtime.manifest import METADATA_KEY

    demo = tmp_path / "demo.onnx"
    model = onnx.load(tiny_engine)
    (entry,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
    entry.value = entry.value.replace('"demonstration":false', '"demonstration":true')
    onnx.save(model, demo)
    short = seal(demo)[:12]
    scan(options([images], demo))
    output, messages = capsysbinary.readouterr()
    assert {record["engine"] for record in lines(output)} == {f"tiny-test@{short} (demonstration)"}
    assert messages.count(b"demonstration") == 1


def test_empty_folder_is_a_warning(tmp_path, tiny_engine, capsysbinary):
    assert scan(options([tmp_path], tiny_engine)) == 0
    output, messages = capsysbinary.readouterr()
    assert output == b""
    assert b"holds no images" in messages


def test_file_that_vanishes_between_listing_and_reading(images, tiny_engine, capsysbinary, monkeypatch):
    iterate = Inputs.__iter__

    def vanishing(self):
        for item in iterate(self):
            if item.path.endswith("4.png"):
                os.unlink(item.path)
            yield item

    monkeypatch.setattr(Inputs, "__iter__", vanishing)
    assert scan(options([images], tiny_engine, quiet=True)) == 1
    records = lines(capsysbinary.readouterr().out)
    assert len(records) == 5
    assert records[4]["error"] == "no such file"


def test_hostile_names_give_valid_json_and_a_harmless_table(tmp_path, tiny_engine, capsysbinary):
    raw = b"new\nline \x1b[31m \xff.png"
    with open(os.path.join(os.fsencode(tmp_path), raw), "wb") as file:
        file.write(encoded(picture()))
    assert scan(options([tmp_path], tiny_engine)) == 0
    (record,) = lines(capsysbinary.readouterr().out)
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
    assert len(lines(capsysbinary.readouterr().out)) == 5


def test_heatmap_that_cannot_be_saved_costs_no_record(images, tiny_engine, tmp_path, monkeypatch, capsysbinary):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "heat").mkdir()
    (tmp_path / "heat/0.png.lcas.png").write_bytes(b"somebody's file")
    assert scan(options(["images"], tiny_engine, heatmaps=Path("heat"))) == 1
    output, messages = capsysbinary.readouterr()
    assert len(lines(output)) == 5
    assert messages.count(b"warning: no heatmap") == 1
    assert (tmp_path / "heat/0.png.lcas.png").read_bytes() == b"somebody's file"


def test_failed_run_leaves_the_old_json(images, tiny_engine, tmp_path, monkeypatch):
    out = tmp_path / "a.json"
    out.write_text("[]")

    def fail(*arguments):
        raise EngineError("the engine died")

    monkeypatch.setattr("cinemae.runtime.detector.Detector._infer", fail)
    with pytest.raises(EngineError):
        scan(options([images], tiny_engine, out=out))
    assert out.read_text() == "[]"
    assert list(tmp_path.glob(".a.json*")) == []


def test_full_disk_is_one_clear_error(images, tiny_engine, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(scan_module, "_writer", lambda *a: scan_module.stdout_writer(Full(), "jsonl"))
    with pytest.raises(OutputError, match="No space left"):
        scan(options([images], tiny_engine))


def test_reader_that_leaves_early(tmp_path, tiny_engine):
    folder_of(tmp_path / "many", 300)
    command = [
        sys.executable, "-m", "cinemae.runtime.cli.run", str(tmp_path / "many"),
        "--engine", str(tiny_engine), "-q",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_interrupt(tmp_path, tiny_engine):
    read, write = os.pipe()
    command = [sys.executable, "-m", "cinemae.runtime.cli.run", "-", "--engine", str(tiny_engine), "--batch-size", "1",
               "--workers", "1"]  # fmt: skip
    with subprocess.Popen(command, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.write(write, b"gone.png\n" * 20)
        assert process.stdout.readline().startswith(b'{"path": "gone.png"')
        process.send_signal(2)
        os.close(write)
        assert b"interrupted" in process.stderr.read()
    os.close(read)
    assert process.returncode == 130


def test_table_on_a_terminal(images, tiny_engine):
    import pty

    master, slave = pty.openpty()
    command = [sys.executable, "-m", "cinemae.runtime.cli.run", str(images), "--engine", str(tiny_engine)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                chunk = os.read(master, 4096)
            except OSError:  # Linux reports the end of a terminal as an input/output error
                break
            if not chunk:
                break
            shown += chunk
    os.close(master)
    assert process.returncode == 1
    for expected in (b"verdict", b"P(AI)", b"0.png", b"error", b"not a readable image", b"5 inputs"):
        assert expected in shown
    assert b'{"path"' not in shown


def test_help_is_quick_and_light(tmp_path):
    code = (
        "import sys, time\n"
        "from cinemae.runtime.cli.run import main\n"
        "sys.argv = ['cinemae-run', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'onnxruntime', 'numpy', 'PIL', 'pydantic', 'matplotlib'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))\nprint('CPU', time.process_time())\n"
    )
    seconds = []
    for _ in range(2):  # the first may compile bytecode
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert "HEAVY []" in found.stdout
        assert "--fail-on-ai" in found.stdout
        seconds.append(float(found.stdout.rsplit("CPU ", 1)[1]))
    assert min(seconds) < HELP_CPU_SECONDS


def test_version_names_the_package():
    from importlib.metadata import PackageNotFoundError, version

    try:
        expected = f"cinemae {version('cinemae')}"
    except PackageNotFoundError:
        expected = "cinemae (not installed: running from its source tree)"
    assert cinemae_run("--version").stdout.decode().strip() == expected


def test_progress_counts_in_the_background(images, tiny_engine, monkeypatch, capsysbinary):
    monkeypatch.setattr("cinemae.runtime.progress.LOG_SECONDS", 0.0)
    scan(options([images], tiny_engine, batch_size=1))
    assert b"inputs, " in capsysbinary.readouterr().err


def test_first_record_does_not_wait_for_the_last_input(tiny_engine, images):
    """Records stream: the first ones are out while stdin is still open."""
    command = [sys.executable, "-m", "cinemae.runtime.cli.run", "-", "--engine", str(tiny_engine), "--quiet",
               "--batch-size", "1", "--workers", "1"]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        name = str(images / "0.png").encode() + b"\n"
        process.stdin.write(name * 10)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["status"] == "ok"
        process.stdin.close()
        rest = process.stdout.read().splitlines()
    assert len(rest) == 9


def test_manifest_of_the_engine_is_the_exported_one(tiny_engine):
    from cinemae.runtime.engines.load import read_engine_manifest

    manifest = read_engine_manifest(tiny_engine)
    assert isinstance(manifest, Manifest)
    assert manifest.kind == "fused"


def test_folder_of_parts_runs_too(images, tiny_parts, tiny_engine, capsysbinary):
    scan(options([images], tiny_parts))
    parts = lines(capsysbinary.readouterr().out)
    scan(options([images], tiny_engine))
    fused = lines(capsysbinary.readouterr().out)
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
