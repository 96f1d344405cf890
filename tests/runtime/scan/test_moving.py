"""Animations in a run: CSV, heatmaps, report, resumed runs."""

import csv
import json

from cinemae.runtime.report.heatmap import is_heatmap
from cinemae.runtime.scan.scan import scan
from moving_pictures import animation, frames_of
from pictures import cinemae_run, encoded, json_lines, picture
from scans import scan_options


def tree(folder):
    folder.mkdir()
    (folder / "a.gif").write_bytes(animation("GIF", frames_of(5)))
    (folder / "b.png").write_bytes(encoded(picture(seed=3)))
    return folder


def test_a_run_names_its_frames(tmp_path, tiny_engine):
    folder, out = tree(tmp_path / "in"), tmp_path / "out.csv"
    outputs = {"out": out, "heatmaps": tmp_path / "heat", "report": tmp_path / "r.html"}
    assert scan(scan_options(folder, engine=tiny_engine, quiet=True, **outputs)) == 0
    moving, still = csv.DictReader(out.open(encoding="utf-8", newline=""))
    frames = json.loads(moving["frames"])
    assert [frame["index"] for frame in frames["scored"]] == [0, 1, 3, 4]
    assert float(moving["logit"]) == max(frame["logit"] for frame in frames["scored"])
    assert still["frames"] == ""
    assert sorted(path.name for path in (tmp_path / "heat").iterdir()) == ["a.gif.lcas.png", "b.png.lcas.png"]
    assert all(map(is_heatmap, (tmp_path / "heat").iterdir()))
    assert "most suspicious of 4" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_resuming_keeps_animations(tmp_path, tiny_engine, capsys):
    """The rates of their runs are null, those of the run of a still image are not."""
    folder, out = tree(tmp_path / "in"), tmp_path / "out.jsonl"
    options = scan_options(folder, engine=tiny_engine, out=out, resume=True)
    for kept in (0, 2):
        assert scan(options) == 0
        assert (f"; {kept} kept" in capsys.readouterr().err) == bool(kept)
    moving, still = json_lines(out.read_bytes())
    assert moving["run"] | {"false_alarm": still["run"]["false_alarm"], "miss": still["run"]["miss"]} == still["run"]


def test_command_line(tmp_path, tiny_engine):
    folder = tree(tmp_path / "in")
    found = cinemae_run(folder / "a.gif", "--engine", tiny_engine, "--frames", "2", "-q")
    assert [frame["index"] for frame in json_lines(found.stdout)[0]["frames"]["scored"]] == [0, 4]
    wrong = cinemae_run(folder, "--engine", tiny_engine, "--frames", "none")
    assert (wrong.returncode, wrong.stdout) == (2, b"")
