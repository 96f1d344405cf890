"""--resume: killed at any byte, with inputs changed in between, the records are those of one undisturbed run."""

import os
import re
import shlex
import signal
import subprocess
import time

import pytest
from cinemae.runtime.core.errors import EngineError, ImageError, OutputError, UsageError
from cinemae.runtime.scan import resume
from cinemae.runtime.scan.resume import read_lines
from cinemae.runtime.scan.scan import scan
from cinemae.runtime.scan.session import Session
from cinemae.runtime.scan.targets import store_path
from cinemae.runtime.scan.writers import StreamWriter
from cinemae.runtime.scoring import prepare
from moving_pictures import animation, frames_of
from pictures import RUN, encoded, folder_of, heeds_sigint, json_lines, picture
from scans import scan_options

BATCH_TOLERANCE = 1e-5  # a resumed run forms other batches


@pytest.fixture
def images(tmp_path):
    return folder_of(tmp_path / "images", 24, bad=2)


@pytest.fixture
def score(tiny_engine):
    def go(*inputs, **changes):
        return scan(scan_options(*inputs, **{"engine": tiny_engine, "batch_size": 4, "quiet": True, **changes}))

    return go


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def seen(monkeypatch):
    """Names of the images that are decoded from now on."""
    names = []
    decode = prepare.Preparer.__call__

    def spy(self, source):
        prepared = decode(self, source)
        names.extend([os.path.basename(source.name)] if prepared.image else [])
        return prepared

    monkeypatch.setattr(prepare.Preparer, "__call__", spy)
    return names


def records(path):
    return json_lines(path.read_bytes())


def same(found, expected):
    assert [r["path"] for r in found] == [r["path"] for r in expected]
    for a, b in zip(found, expected, strict=True):
        assert {k: a[k] for k in ("status", "error", "sha256")} == {k: b[k] for k in ("status", "error", "sha256")}
        if a["status"] == "ok":
            assert abs(a["logit"] - b["logit"]) < BATCH_TOLERANCE


@pytest.mark.parametrize("share", [None, 0.0, 0.001, 0.5, 0.9999, 1.0])
def test_cut_at_any_byte(images, score, out, seen, share, monkeypatch):
    code = score(images, out=out)
    data = out.read_bytes()
    cut = int(len(data) * (share or 0))
    out.write_bytes(data[:cut])
    if share is None:
        out.unlink()
    seen.clear()
    hashed, current_sha256 = [], resume.current_sha256
    monkeypatch.setattr(resume, "current_sha256", lambda source: (hashed.append(source), current_sha256(source))[1])
    assert score(images, out=out, resume=True) == code == 1
    assert len(hashed) + len(seen) == 22  # no new input is read twice
    same(records(out), json_lines(data))
    assert out.read_bytes().startswith(data[: data.rfind(b"\n", 0, cut) + 1])
    assert len(seen) == 22 - max(0, data[:cut].count(b"\n") - 2)  # the first two are not readable
    assert not store_path(out).exists()


def test_changed_new_and_removed_inputs(images, score, out, seen, tmp_path):
    score(images, out=out)
    folder = images / "part00"
    (folder / "img000005.png").write_bytes(encoded(picture(90, 90, seed=99)))
    (folder / "img000010.jpg").unlink()
    (folder / "img000007b.png").write_bytes(encoded(picture(seed=98)))
    seen.clear()
    score(images, out=out, resume=True)
    assert sorted(seen) == ["img000005.png", "img000007b.png"]
    score(images, out=tmp_path / "fresh.jsonl")
    same(records(out), records(tmp_path / "fresh.jsonl"))


def test_killed_again_and_again_while_old_records_wait(images, score, out, seen, tmp_path, monkeypatch, capsys):
    score(images, out=out)
    (images / "part00" / "img000002.jpg").write_bytes(encoded(picture(90, 90, seed=99)))

    class Killed(BaseException):
        pass

    write = StreamWriter.write

    def dying(self, record):
        write(self, record)
        if record.path.endswith("img000006.jpg"):
            raise Killed

    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(StreamWriter, "write", dying)
            with pytest.raises(Killed):
                score(images, out=out, resume=True)
        assert len(records(out)) == 7
        assert len(records(store_path(out))) == 22  # each once
    with out.open("ab") as file:
        file.write(b'{"path": "torn')
    seen.clear()
    score(images, out=out, resume=True, quiet=False)
    assert seen == []
    assert "24 inputs" in (messages := capsys.readouterr().err)
    assert "22 kept from the earlier run" in messages
    assert not store_path(out).exists()
    score(images, out=tmp_path / "fresh.jsonl")
    same(records(out), records(tmp_path / "fresh.jsonl"))


def test_duplicate_inputs_stay_duplicates(images, score, out):
    name = images / "part00" / "img000005.png"
    score(name, images, name, out=out, resume=True)
    data = out.read_bytes()
    out.write_bytes(data[: len(data) // 2])
    score(name, images, name, out=out, resume=True)
    assert [r["path"] for r in records(out)] == [r["path"] for r in json_lines(data)]
    assert len(records(out)) == 26


def test_failed_inputs_are_scored_again(images, score, out, seen, tmp_path, monkeypatch):
    """The file is the same and what it needs is there now, such as a package; or the file is there now."""
    load, missing = prepare.load_frames, images / "part00" / "img000003.png"
    data = missing.read_bytes()
    missing.unlink()
    missing.symlink_to(tmp_path / "later.png")

    def without_package(*arguments, name, **options):
        if name.endswith("img000005.png"):
            raise ImageError(f"{name}: needs a package", "unsupported")
        return load(*arguments, name=name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "load_frames", without_package)
        score(images, out=out)
    assert [records(out)[i]["error"]["kind"] for i in (3, 5)] == ["missing", "unsupported"]
    (tmp_path / "later.png").write_bytes(data)
    seen.clear()
    score(images, out=out, resume=True)
    assert sorted(seen) == ["img000003.png", "img000005.png"]
    score(images, out=tmp_path / "fresh.jsonl")
    same(records(out), records(tmp_path / "fresh.jsonl"))


@pytest.mark.parametrize("changes", [{}, {"tiles": True, "frames": 10}])
def test_animations_are_kept(score, out, tmp_path, capsys, changes):
    """The rates of their runs are null, those of a still image's are not; of tiles, fewer frames are scored than asked
    for, however often a run is resumed."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.gif").write_bytes(animation("GIF", frames_of(12)))
    (tmp_path / "in/b.png").write_bytes(encoded(picture(seed=3)))
    for kept in (0, 2, 2):
        assert score(tmp_path / "in", out=out, resume=True, quiet=False, **changes) == 0
        assert (f"; {kept} kept" in capsys.readouterr().err) == bool(kept)
    moving, still = records(out)
    assert len(moving["frames"]["scored"]) == 4
    assert moving["run"] | {rate: still["run"][rate] for rate in ("false_alarm", "miss")} == still["run"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"prior": 0.1}, "prior"), ({"threshold": 0.9}, "threshold"), ({"frames": "first"}, "max_frames"),
     ({"tiles": True}, "tiled"), ({"decode": "scaled"}, "decode")],
)
def test_records_of_another_run_are_refused_by_the_field(images, score, out, changes, field):
    score(images, out=out)
    before = out.read_bytes()
    with pytest.raises(UsageError, match=f"was made with {field} "):
        score(images, out=out, resume=True, **changes)
    assert out.read_bytes() == before
    assert not store_path(out).exists()


def test_only_another_version_may_go_on(images, score, out, seen, tmp_path):
    score(images, out=out)
    data = out.read_bytes()
    out.write_bytes(data.replace(b'"cinemae": "', b'"cinemae": "7'))
    seen.clear()
    score(images, out=out, resume=True)
    assert seen == []
    for foreign, error in ((data.replace(b"tiny-test@", b"other-test@"), UsageError),
                           (data.replace(b'"schema": 1', b'"schema": 0'), UsageError),
                           (b"a diary\nof mine\n", OutputError)):
        out.write_bytes(foreign)
        with pytest.raises(error):
            score(images, out=out, resume=True)
        assert out.read_bytes() == foreign


def test_an_engine_that_cannot_be_used_moves_no_record(images, score, out, tiny_engine, tmp_path):
    score(images, out=out)
    before, broken, data = out.read_bytes(), tmp_path / "broken.onnx", bytearray(tiny_engine.read_bytes())
    data[len(data) // 2] ^= 8  # found when the engine loads, which is in the background
    broken.write_bytes(data)
    with pytest.raises(EngineError):
        score(images, out=out, resume=True, engine=broken)
    assert out.read_bytes() == before


def test_a_run_without_resume_forgets_what_an_earlier_one_left(images, score, out):
    store_path(out).write_bytes(b"")
    score(images, out=out)
    assert not store_path(out).exists()


@pytest.mark.parametrize("line", [None, b"{}\n", b"[" * 100_000 + b"\n", b'{"schema": 1}\n'])
def test_lines_stop_where_the_file_is_torn(out, line):
    if line is not None:
        out.write_bytes(line)
    assert list(read_lines(out)) == []


def test_records_are_not_cut_without_overwrite(images, score, out):
    score(images, out=out)
    data = out.read_bytes()
    with out.open("rb+") as file:
        file.truncate(data.index(b"\n") * 5)  # a line is torn
    torn = out.read_bytes()
    with pytest.raises(UsageError, match=rf"out\.jsonl: holds {torn.count(10)} records .* --resume; or .*--overwrite"):
        score(images, out=out, overwrite=False)
    assert out.read_bytes() == torn
    with pytest.raises(UsageError, match="leave one out"):
        score(images, out=out, overwrite=True, resume=True)
    out.rename(store_path(out))  # of a resumed run that was killed at once
    with pytest.raises(UsageError, match=r"out\.jsonl: holds"):
        score(images, out=out, overwrite=False)
    assert score(images, out=out, overwrite=True) == 1
    same(records(out), json_lines(data))
    assert not store_path(out).exists()


def test_a_refusal_and_an_interrupt_print_the_command_that_goes_on(images, tiny_engine, tmp_path):
    options = ("--engine", str(tiny_engine), "--batch-size", "1", "--workers", "1", "--out", "o.jsonl")
    command = [*RUN, "my images", *options]
    images.rename(tmp_path / "my images")
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=heeds_sigint) as process:
        while not (tmp_path / "o.jsonl").exists() or not (tmp_path / "o.jsonl").stat().st_size:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
    done = re.search(r"^(\d+) inputs are done; go on with:\ncinemae run (.*)$", said, re.MULTILINE)
    assert int(done[1]) == len(records(tmp_path / "o.jsonl")) < 24
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (2, "")
    assert f"o.jsonl: holds {done[1]} records of an earlier run; go on with: cinemae run {done[2]}; or" in again.stderr
    assert len(records(tmp_path / "o.jsonl")) == int(done[1])
    following = subprocess.run([*RUN, *shlex.split(done[2])], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert following.returncode == 1, following.stderr
    assert len(records(tmp_path / "o.jsonl")) == 24


def test_an_interrupt_says_that_a_table_keeps_nothing(images, score, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "consume", interrupted)
    table = tmp_path / "o.csv"
    with pytest.raises(KeyboardInterrupt):
        score(images, out=table, quiet=False)
    assert not table.exists()
    before, after = capsys.readouterr().err.split(" inputs are done; ")
    assert f"note: {table} is written at the end only; an interrupted run keeps nothing" in before
    assert "o.csv is written at the end only; with --out FILE.jsonl, --resume continues" in after
