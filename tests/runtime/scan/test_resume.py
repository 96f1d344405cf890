"""--resume: killed at any byte, with inputs changed in between, the records are those of one undisturbed run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from cinemae.runtime.core.errors import OutputError, UsageError
from cinemae.runtime.scan.resume import read_lines, store_path
from cinemae.runtime.scan.scan import ScanOptions, scan
from cinemae.runtime.scoring.reasons import UNCALIBRATED
from cinemae.runtime.scoring.record import ADDED_FIELDS
from pictures import encoded, folder_of, picture

BATCH_TOLERANCE = 1e-5  # a resumed run forms other batches


@pytest.fixture
def images(tmp_path):
    return folder_of(tmp_path / "images", 24, bad=2)


@pytest.fixture
def score(tiny_engine):
    def go(folder, out, **changes):
        changes = {"batch_size": 4, "quiet": True, **changes}
        return scan(ScanOptions((str(folder),), engine=tiny_engine, device="cpu", threads=1, out=out, **changes))

    return go


def records(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def same(found, expected):
    assert [r["path"] for r in found] == [r["path"] for r in expected]
    for a, b in zip(found, expected, strict=True):
        assert {k: a[k] for k in ("status", "error", "sha256")} == {k: b[k] for k in ("status", "error", "sha256")}
        if a["status"] == "ok":
            assert abs(a["logit"] - b["logit"]) < BATCH_TOLERANCE


def counting(monkeypatch):
    """Names of the images that were really decoded."""
    from cinemae.runtime.scoring.detector import Detector

    seen = []
    prepare = Detector.prepare

    def spy(self, source):
        prepared = prepare(self, source)
        seen.extend([source.name] if prepared.image else [])
        return prepared

    monkeypatch.setattr(Detector, "prepare", spy)
    return seen


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.77, 0.9999, 1.0])
def test_cut_at_any_byte(images, score, tmp_path, monkeypatch, share):
    out = tmp_path / "out.jsonl"
    code = score(images, out)
    data = out.read_bytes()
    cut = int(len(data) * share)
    out.write_bytes(data[:cut])
    seen = counting(monkeypatch)
    assert score(images, out, resume=True) == code == 1
    same(records(out), [json.loads(line) for line in data.splitlines()])
    assert out.read_bytes().startswith(data[: data.rfind(b"\n", 0, cut) + 1])
    assert len(seen) == 22 - max(0, data[:cut].count(b"\n") - 2)  # the first two are not readable
    assert not store_path(out).exists()


def test_without_an_earlier_file_it_is_an_ordinary_run(images, score, tmp_path):
    assert score(images, tmp_path / "new.jsonl", resume=True) == 1
    assert len(records(tmp_path / "new.jsonl")) == 24


def test_changed_new_and_removed_inputs(images, score, tmp_path, monkeypatch):
    out, fresh = tmp_path / "out.jsonl", tmp_path / "fresh.jsonl"
    score(images, out)
    folder = images / "part00"
    (folder / "img000005.png").write_bytes(encoded(picture(90, 90, seed=99)))
    (folder / "img000010.jpg").unlink()
    (folder / "img000007b.png").write_bytes(encoded(picture(seed=98)))
    seen = counting(monkeypatch)
    score(images, out, resume=True)
    assert sorted(os.path.basename(name) for name in seen) == ["img000005.png", "img000007b.png"]
    score(images, fresh)
    same(records(out), records(fresh))
    assert not store_path(out).exists()


def test_killed_twice_with_changes_in_between(images, score, tmp_path, monkeypatch, capsys):
    """The second kill comes while old records still wait in the store: they must not be lost."""
    out, fresh = tmp_path / "out.jsonl", tmp_path / "fresh.jsonl"
    score(images, out)
    (images / "part00" / "img000002.jpg").write_bytes(encoded(picture(90, 90, seed=99)))

    class Killed(BaseException):
        pass

    from cinemae.runtime.scan.writers import StreamWriter

    write = StreamWriter.write

    def dying(self, record):
        write(self, record)
        if record.path.endswith("img000006.jpg"):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(StreamWriter, "write", dying)
        with pytest.raises(Killed):
            score(images, out, resume=True)
    assert len(records(out)) == 7
    assert len(records(store_path(out))) == 22
    with out.open("ab") as file:
        file.write(b'{"path": "torn')
    seen = counting(monkeypatch)
    score(images, out, resume=True, quiet=False)
    assert seen == []
    assert "24 inputs" in (messages := capsys.readouterr().err)
    assert "24 kept from the earlier run" in messages
    score(images, fresh)
    same(records(out), records(fresh))


def test_duplicate_inputs_stay_duplicates(images, tiny_engine, tmp_path):
    out = tmp_path / "out.jsonl"
    name = str(images / "part00" / "img000005.png")
    options = ScanOptions((name, str(images), name), engine=tiny_engine, device="cpu", out=out, quiet=True, resume=True)
    scan(options)
    data = out.read_bytes()
    out.write_bytes(data[: len(data) // 2])
    scan(options)
    assert [r["path"] for r in records(out)] == [json.loads(line)["path"] for line in data.splitlines()]
    assert len(records(out)) == 26


def test_error_that_has_gone_away_is_scored(images, score, tmp_path):
    out = tmp_path / "out.jsonl"
    missing = images / "part00" / "img000003.png"
    data = missing.read_bytes()
    missing.unlink()
    missing.symlink_to(tmp_path / "later.png")
    score(images, out)
    assert records(out)[3]["error"] == "no such file or folder"
    (tmp_path / "later.png").write_bytes(data)
    score(images, out, resume=True)
    assert records(out)[3]["status"] == "ok"
    assert len(records(out)) == 24


def test_error_of_the_environment_is_scored_again(images, score, tmp_path, monkeypatch):
    """The file is the same, and what it needs is there now: a package for its format, for example."""
    from cinemae.runtime.core.errors import ImageError
    from cinemae.runtime.scoring import prepare as preparer

    out, fresh = tmp_path / "out.jsonl", tmp_path / "fresh.jsonl"
    load = preparer.load_frames

    def without_package(source, preprocess, wanted, max_pixels, name, tile_patch):
        if name.endswith("img000005.png"):
            raise ImageError(f"{name}: needs a package")
        return load(source, preprocess, wanted, max_pixels, name, tile_patch)

    with monkeypatch.context() as patch:
        patch.setattr(preparer, "load_frames", without_package)
        score(images, out)
    assert records(out)[5]["error"] == "needs a package"
    seen = counting(monkeypatch)
    score(images, out, resume=True)
    score(images, fresh)
    same(records(out), records(fresh))
    assert [os.path.basename(name) for name in seen][:1] == ["img000005.png"]


def test_another_threshold_scores_again_what_it_changes(images, score, tmp_path):
    out = tmp_path / "out.jsonl"
    score(images, out, threshold=0.9999)
    assert {r["verdict"] for r in records(out)} == {"real", None}
    score(images, out, threshold=0.0001, resume=True)
    assert {r["verdict"] for r in records(out)} == {"ai", None}


def test_another_prior_scores_again(images, score, tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl"
    score(images, out)
    score(images, out, prior=0.1, resume=True)
    assert {r["prior"] for r in records(out)} == {0.1}
    seen = counting(monkeypatch)
    score(images, out, prior=0.1, resume=True)
    assert seen == []


def test_records_that_hide_a_missing_calibration_are_scored_again(images, score, tmp_path, monkeypatch):
    """Earlier ones lack the reason; the tiny engine has no calibrated thresholds."""
    out = tmp_path / "out.jsonl"
    score(images, out)
    older = [r | {"reasons": [reason for reason in r["reasons"] if reason != UNCALIBRATED]} for r in records(out)]
    out.write_text("".join(json.dumps(r) + "\n" for r in older))
    seen = counting(monkeypatch)
    score(images, out, resume=True)
    assert len(seen) == 22
    assert all(UNCALIBRATED in r["reasons"] for r in records(out) if r["status"] == "ok")


@pytest.mark.parametrize(("change", "scored"), [({}, 0), ({"prior": 0.1}, 22)])
def test_older_records_are_kept(images, score, tmp_path, monkeypatch, change, scored):
    """They lack the prior, which was one half, and the thresholds."""
    out = tmp_path / "out.jsonl"
    score(images, out)
    older = [{name: value for name, value in r.items() if name not in ADDED_FIELDS} for r in records(out)]
    out.write_text("".join(json.dumps(r) + "\n" for r in older))
    seen = counting(monkeypatch)
    score(images, out, resume=True, **change)
    assert len(seen) == scored
    assert [r["logit"] for r in records(out)] == pytest.approx([r["logit"] for r in older])


def test_records_of_other_thresholds_are_scored_again(images, score, tmp_path, monkeypatch):
    """Also where no verdict changes: the records would tell the wrong threshold."""
    out = tmp_path / "out.jsonl"
    score(images, out, threshold=0.9999)
    score(images, out, threshold=0.9998, resume=True)
    assert {round(r["ai_from"], 6) for r in records(out)} == {0.9998}


def test_another_engine_or_another_kind_of_file_is_refused(images, score, tmp_path):
    out = tmp_path / "out.jsonl"
    score(images, out)
    other = out.read_bytes().replace(b"tiny-test@", b"other-test@")
    out.write_bytes(other)
    with pytest.raises(UsageError, match="was made by other-test"):
        score(images, out, resume=True)
    assert out.read_bytes() == other
    out.write_bytes(b"a diary\nof mine\n")
    with pytest.raises(OutputError, match="does not hold records"):
        score(images, out, resume=True)
    assert out.read_bytes() == b"a diary\nof mine\n"


def test_lines_stop_where_the_file_is_torn(tmp_path):
    path = tmp_path / "x.jsonl"
    assert list(read_lines(path)) == []
    path.write_bytes(b"{}\n")
    assert list(read_lines(path)) == []
    path.write_bytes(b"[" * 100_000 + b"\n")
    assert list(read_lines(path)) == []


@pytest.mark.slow
def test_kill_9_and_resume_give_the_records_of_one_run(tmp_path, tiny_engine):
    images = folder_of(tmp_path / "images", 600, bad=5)
    command = [sys.executable, "-m", "cinemae.runtime.cli.run", str(images), "--engine", str(tiny_engine), "--quiet",
               "--device", "cpu", "--threads", "1", "--batch-size", "4", "--out"]
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert subprocess.run([*command, str(whole)], timeout=120, check=False).returncode == 1
    reached = 0
    for share in (0.2, 0.6):
        with subprocess.Popen([*command, str(out), "--resume"]) as process:
            while process.poll() is None and (not out.exists() or out.stat().st_size < share * whole.stat().st_size):
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert out.stat().st_size > reached
        reached = out.stat().st_size
    assert subprocess.run([*command, str(out), "--resume"], timeout=120, check=False).returncode == 1
    same(records(out), records(whole))
