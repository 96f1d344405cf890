"""Where a run writes: no file of the user's is replaced, a full disk or a second run costs nothing but the run."""

import os
import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cinemae.runtime.core.errors import OutputError, UsageError
from cinemae.runtime.scan.options import WatchOptions
from cinemae.runtime.scan.scan import scan
from cinemae.runtime.scan.targets import Targets
from cinemae.runtime.scan.watch.scan import scan_folders
from pictures import RUN, cinemae_run, encoded, folder_of, json_lines, picture
from scans import scan_options


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/keep.jpg"
    path.write_bytes(encoded(picture(), "JPEG"))
    return path


@pytest.fixture
def run(tiny_engine):
    """The command with the tiny engine."""
    return lambda *arguments, **options: cinemae_run(*arguments, "--engine", tiny_engine, "-q", **options)


@pytest.fixture
def refused(run):
    """Run the command and check that it ends with one sentence."""

    def go(code, message, *arguments, **options):
        found = run(*arguments, **options)
        assert (found.returncode, found.stdout or b"") == (code, b""), found.stderr.decode()
        assert message.encode() in found.stderr
        assert found.stderr.startswith(b"error: ")
        assert found.stderr.count(b"\n") == 1

    return go


def limited(size):
    """No file may grow beyond `size`, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("option", ["out", "report"])
@pytest.mark.parametrize("inputs", [["in/keep.jpg"], ["in"], ["in/*"], ["@list.txt"]])
@pytest.mark.parametrize("any_suffix", [False, True])
def test_no_output_replaces_an_image(photo, option, inputs, any_suffix):
    Path("list.txt").write_text("in/keep.jpg\n")
    shutil.copy(photo, "in/strange.jsonl")
    Path("in/link.jsonl").symlink_to("keep.jpg")
    os.link(photo, "in/hard.jsonl")
    before = {path: path.read_bytes() for path in photo.parent.iterdir()}
    for target in ("in/keep.jpg", "in/strange.jsonl", "in/link.jsonl", "in/hard.jsonl", "in/../in/keep.jpg", "new.png"):
        with pytest.raises((UsageError, OutputError)):
            Targets(**{option: Path(target)}).check(inputs, any_suffix=any_suffix)
    assert {path: path.read_bytes() for path in photo.parent.iterdir()} == before
    assert not Path("new.png").exists()


def test_names_that_are_taken_or_cannot_be_written(photo, tiny_engine):
    def refuse(kind, message, *inputs, engine=tiny_engine, resume=False, **paths):
        targets = {name: Path(value) for name, value in paths.items()}
        with pytest.raises(kind, match=message):
            scan(scan_options(*inputs or ("in",), engine=engine, resume=resume, **targets))

    Path("list.jsonl").write_text("in/keep.jpg\n")
    Path("diary.txt").write_text("a diary\n")
    Path("old.jsonl.resume").write_text("mine\n")
    engine = Path(shutil.copy(tiny_engine, "engine.html"))
    refuse(UsageError, "--out writes .jsonl, .ndjson, .json, .csv and .parquet, not .xlsx", out="x.xlsx")
    refuse(UsageError, "is an input", "@list.jsonl", out="list.jsonl")
    refuse(UsageError, "is an input", "in", report="engine.html", engine=engine)
    refuse(UsageError, "named by --out and --report", out="a.jsonl", report="./a.jsonl")
    refuse(UsageError, "give each its own name", out="a.jsonl", report="a.jsonl.resume")
    for name in ("r.pdf", "r.xlsx"):
        refuse(UsageError, r"ends in \.html", report=name)
    for folder in ("in", "", ".", "..", "/"):
        refuse(OutputError, "is a folder", out=folder)
    refuse(OutputError, "is a folder", report="in")
    Path("blog.html").write_text("<!doctype html>\n<title>my own blog</title>")
    for paths in ({"out": "diary.txt"}, {"out": "old.jsonl"}, {"report": "diary.txt"}, {"report": "blog.html"}):
        refuse(OutputError, "does not hold", **paths)
    Path("dangling.html").symlink_to("in/new.png")
    for option in ("out", "report"):
        refuse(UsageError, "does not write images", **{option: "dangling.html"})
    Path("dangling.html").unlink()
    refuse(OutputError, "not a folder", heatmaps="diary.txt")
    refuse(OutputError, "Not a directory", out="diary.txt/x.jsonl")
    for paths in ({"out": "/proc/x.jsonl"}, {"out": "/proc/x.csv"}, {"report": "/proc/x.html"}, {"heatmaps": "/proc/x"},
                  {"out": "/proc/x.jsonl", "resume": True}):
        refuse(OutputError, "cannot be (written|made)", **paths)
    refuse(OutputError, "device", report="/dev/full")
    assert Path("diary.txt").read_text() == "a diary\n"
    assert sorted(os.listdir()) == ["blog.html", "diary.txt", "engine.html", "in", "list.jsonl", "old.jsonl.resume"]


@pytest.mark.parametrize(
    "mine",
    [
        b'{"path": "a.jpg", "label": "ai"}\n',  # a list of images for training
        b'{"path": "a.jpg"}',
        b'[\n{"path": "a.jpg", "stars": 5}\n]\n',
        b"[] buy milk\n[] call home\n",
        b"[]\n[]\n",
    ],
)
def test_files_that_only_look_like_records_are_kept(photo, mine):
    for name in ("a.jsonl", "a.json", "a.csv"):
        Path(name).write_bytes(mine)
        with pytest.raises(OutputError, match="does not hold records"):
            scan(scan_options("in", out=Path(name), resume=name == "a.jsonl"))
        assert Path(name).read_bytes() == mine
    with pytest.raises(OutputError, match="does not hold records"):
        scan_folders(WatchOptions(inputs=("in",), out=Path("a.jsonl")))


@pytest.mark.parametrize("end", [0, 1, 9, 10, 14, 20, 26, None])
def test_torn_records_may_be_replaced(photo, end):
    quoted = b'{"path": "in/a\\"b.jpg", "status": "ok"}\n'
    for text in (quoted, b'[\n{"path": "a", "status": "error"}', b"path,status,error"):
        Path("a.jsonl").write_bytes(text[:end])
        Targets(Path("a.jsonl")).check(["in"])


@pytest.mark.parametrize("name", ["jsonl", "json", "csv"])
def test_full_devices(photo, refused, name):
    refused(3, "No space left on device", photo, "--format", name, "--out", "/dev/full")
    command = f'{" ".join(RUN)} in/keep.jpg --format {name} -q >/dev/full'
    found = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert found.returncode == 3
    assert found.stderr == b"error: standard output: cannot be written (No space left on device)\n"


def test_full_disk_leaves_whole_records(tmp_path, run, refused):
    images, out = folder_of(tmp_path / "images", 40), tmp_path / "out.jsonl"
    refused(3, "File too large", images, "--out", out, preexec_fn=limited(5000))
    first = json_lines(out.read_bytes())
    assert 1 < len(first) < 40
    refused(3, "File too large", images, "--out", out, "--resume", preexec_fn=limited(10_000))
    assert json_lines(out.read_bytes())[: len(first)] == first
    assert run(images, "--out", out, "--resume").returncode == 0
    assert len(json_lines(out.read_bytes())) == 40


def test_full_disk_keeps_the_earlier_file(tmp_path, run, refused):
    images = folder_of(tmp_path / "images", 40)
    out, page, lines = tmp_path / "out.csv", tmp_path / "page.html", tmp_path / "x.jsonl"
    for path, size, old in ((out, 5000, b"path,status,old\n"),
                            (page, 40_000, b"<!doctype html>\n<!-- report of cinemae-run -->old")):
        path.write_bytes(old)
        outputs = ["--report", page, "--out", lines] if path == page else ["--out", out]
        refused(3, "File too large", images, *outputs, preexec_fn=limited(size))
        assert path.read_bytes() == old
    few = folder_of(tmp_path / "few", 5)  # whose records fit in the limit, wherever the folder lies
    found = run(few, "--heatmaps", tmp_path / "heat", "--out", lines, "--overwrite", preexec_fn=limited(12_000))
    assert found.returncode == 3
    assert b"5 heatmaps could not be written (File too large)" in found.stderr
    assert b"Traceback" not in found.stderr
    assert len(json_lines(lines.read_bytes())) == 5
    assert list(tmp_path.rglob(".*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jsonl", "json", "csv"])
def test_links_are_written_through_and_pipes_get_a_stream(photo, run, refused, name):
    link, real, pipe = Path(f"link.{name}"), Path(f"real.{name}"), Path(f"pipe.{name}")
    link.symlink_to(real)
    for _ in range(2):
        assert run(photo, "--out", link, "--overwrite").returncode == 0
    assert link.is_symlink()
    assert b"keep.jpg" in real.read_bytes()
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        assert run(photo, "--out", pipe).returncode == 0
        assert reader.stdout.read() == real.read_bytes()
    assert run(photo, "--out", "/dev/null", "--format", name).returncode == 0
    assert run(photo, "--out", "/dev/stdout", "--format", name).stdout == real.read_bytes()
    refused(2, "not a file" if name == "jsonl" else "--resume", photo, "--resume", "--out", pipe)


@pytest.mark.slow
@pytest.mark.parametrize("target", [("--out", "o.jsonl"), ("--out", "o.csv"), ("--report", "o.html")])
def test_a_second_writer_is_refused(photo, run, refused, tiny_engine, target):
    other = ["--out", "o.jsonl"] if target[0] == "--report" else []
    command = [*RUN, "-", "--engine", str(tiny_engine), "-q", *target, *other, "--batch-size", "1", "--workers", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as first:
        first.stdin.write(b"in/keep.jpg\n" * 20)
        first.stdin.flush()
        busy = Path("o.jsonl") if other or target[1] == "o.jsonl" else Path(".o.csv.part")
        for _ in range(3000):
            if busy.exists() and busy.stat().st_size:
                break
            time.sleep(0.01)
        for more in ([], ["--resume"])[: 1 + (target[1] == "o.jsonl")]:
            refused(3, f"/{target[1]}: another run is writing it", photo, *target, *more)
        first.stdin.close()
    assert first.returncode == 0
    assert run(photo, *target, "--overwrite").returncode == 0


def test_what_a_killed_run_left_is_used_again(photo, tiny_engine):
    for leftover in (".o.csv.part", ".o.html.part"):
        Path(leftover).write_bytes(b"leftover" * 10_000)
    assert scan(scan_options(photo, engine=tiny_engine, out=Path("o.csv"), report=Path("o.html"), quiet=True)) == 0
    assert b"leftover" not in Path("o.csv").read_bytes() + Path("o.html").read_bytes()
    assert sorted(os.listdir()) == ["in", "o.csv", "o.html"]


def test_appended_standard_output_keeps_what_was_there(photo):
    Path("log").write_bytes(b"earlier\n")
    command = f'{" ".join(RUN)} in/keep.jpg -q >>log'
    assert subprocess.run(["sh", "-c", command], preexec_fn=limited(20), stderr=subprocess.PIPE).returncode == 3
    assert Path("log").read_bytes().startswith(b"earlier\n")
