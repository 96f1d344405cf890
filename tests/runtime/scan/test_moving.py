"""Animations in runs of `cinemae-run`: CSV, heatmaps, resumed runs with another number of frames."""

import csv
import json

from cinemae.runtime.report.heatmap import is_heatmap
from cinemae.runtime.scan.options import ScanOptions
from cinemae.runtime.scan.scan import scan
from moving_pictures import animation, frames_of
from pictures import cinemae_run, encoded, json_lines, picture


def options(folder, engine, **changes):
    return ScanOptions(inputs=(str(folder),), engine=engine, device="cpu", threads=1, quiet=True, **changes)


def tree(folder):
    folder.mkdir()
    (folder / "a.gif").write_bytes(animation("GIF", frames_of(5)))
    (folder / "b.png").write_bytes(encoded(picture(seed=3)))
    return folder


def test_a_run_names_its_frames(tmp_path, tiny_engine):
    folder, out = tree(tmp_path / "in"), tmp_path / "out.csv"
    assert scan(options(folder, tiny_engine, out=out, heatmaps=tmp_path / "heat", report=tmp_path / "r.html")) == 0
    moving, still = csv.DictReader(out.open(encoding="utf-8", newline=""))
    frames = json.loads(moving["frames"])
    assert [frame["index"] for frame in frames["scored"]] == [0, 1, 3, 4]
    assert float(moving["logit"]) == max(frame["logit"] for frame in frames["scored"])
    assert still["frames"] == ""
    assert sorted(path.name for path in (tmp_path / "heat").iterdir()) == ["a.gif.lcas.png", "b.png.lcas.png"]
    assert all(map(is_heatmap, (tmp_path / "heat").iterdir()))
    assert "most suspicious of 4" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_resuming_keeps_what_this_run_would_score(tmp_path, tiny_engine, capsys):
    folder, out = tree(tmp_path / "in"), tmp_path / "out.jsonl"

    def kept(**changes):
        settings = options(folder, tiny_engine, out=out, resume=True, **changes)
        scan(ScanOptions(**{**settings.__dict__, "quiet": False}))
        text = capsys.readouterr().err
        return int(text.partition(" kept")[0].rpartition(" ")[2]) if " kept" in text else 0

    assert kept() == 0
    before = out.read_bytes()
    assert kept() == 2
    assert out.read_bytes() == before
    assert kept(frames="first") == 1
    assert len(json_lines(out.read_bytes())[0]["frames"]["scored"]) == 1
    assert kept(frames="first") == 2
    assert kept(frames="all") == 1
    assert kept(frames=50) == 2


def test_command_line(tmp_path, tiny_engine):
    folder = tree(tmp_path / "in")
    found = cinemae_run(folder / "a.gif", "--engine", tiny_engine, "--frames", "2", "-q")
    assert [frame["index"] for frame in json_lines(found.stdout)[0]["frames"]["scored"]] == [0, 4]
    wrong = cinemae_run(folder, "--engine", tiny_engine, "--frames", "none")
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    assert b"first, all or a number from 1 to 100" in wrong.stderr
