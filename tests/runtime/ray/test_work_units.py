"""The distributed run without a cluster: work units and shards, and the errors for what cannot work."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile

import pytest
from cinemae.runtime.cli.ray import app
from cinemae.runtime.core.environment import pip_install
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.ray import storage
from cinemae.runtime.ray.options import RayOptions
from cinemae.runtime.ray.shards import count_shard, read_shard, shard_name, write_shard
from cinemae.runtime.ray.storage import Folder
from cinemae.runtime.ray.work_units import SMALLEST, Unit, digest, list_units, sources
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.urls import NOT_ALLOWED
from cinemae.runtime.scoring.detector import Detector
from cinemae.runtime.scoring.pipeline import decode_and_score
from cinemae.runtime.scoring.record import Failure, to_dict
from commands import outcome
from serve_tools import ArithmeticEngine, encode, picture


@pytest.fixture
def detector(tiny_manifest):
    engine = ArithmeticEngine(tiny_manifest)
    return Detector(engine, engine.manifest)


@pytest.fixture
def photos(tmp_path):
    """A folder with a subfolder: 20 images, one damaged, one that is no image by its suffix."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for seed in range(20):
        place = folder / "deep" if seed % 3 == 0 else folder
        (place / f"{seed:02d}.png").write_bytes(encode(picture(seed, 40, 30)))
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not an input")
    return folder


def units_of(*arguments, actors=1, **options):
    return list_units(RayOptions(inputs=tuple(map(str, arguments)), out="out", **options), actors)


def records(detector, units):
    scored = (decode_and_score(sources(unit), detector.prepare, detector.begin, 4, 1) for unit in units)
    return [item.record for items in scored for item in items]


@pytest.mark.parametrize("wrong", [{"out": ""}, {"format": "csv"}, {"actors": 0}, {"workers": 0}])
def test_options_that_cannot_work(wrong):
    with pytest.raises(UsageError, match=f"--{next(iter(wrong))}"):
        RayOptions(**{"inputs": ("a",), "out": "d", **wrong})


def test_a_missing_extra_gives_the_pip_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    monkeypatch.setattr("cinemae.runtime.ray.supervised.supervise", lambda advice: None)
    code, _, err = outcome(capsys, app, "--out", "out", "photos")
    assert (code, pip_install("ray") in err) == (3, True)


def test_units_cover_the_inputs_once_in_local_order(photos):
    units = units_of(photos)
    listed = [name for unit in units for name, _ in unit.items]
    assert listed == [item.name for item in Inputs([str(photos)])]
    assert [unit.index for unit in units] == list(range(len(units)))
    assert max(len(unit.items) for unit in units) == SMALLEST
    assert len(units) == 2


def test_units_survive_json_with_names_that_are_not_unicode():
    unit = Unit(3, "files", (("a\udcff\n.png", None), ("b", ("missing", "no such file"))))
    text = unit.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert Unit.from_json(text) == unit
    assert digest([unit]) != digest([])


def test_units_give_the_records_of_a_local_run(detector, photos):
    local = [to_dict(record) for record in detector.detect_many(Inputs([str(photos)]))]
    assert [to_dict(record) for record in records(detector, units_of(photos))] == local
    assert [record["status"] for record in local].count("error") == 1


def test_urls_give_the_same_scores(detector, photos):
    pytest.importorskip("fsspec", reason="needs the ray extra")
    local = {os.path.basename(r.path): r for r in records(detector, units_of(photos))}
    for url in (f"file://{photos}", f"file://{photos}/**/*.png", f"file://{photos}/07.png"):
        units = units_of(url)
        found = records(detector, units)
        assert len(found) == {"s": 21, "*": 20, "0": 1}[url.rpartition("/")[2][0].replace("p", "s")]
        for record in found:
            same = local[os.path.basename(record.path)]
            assert record.path.startswith("file://")
            assert (record.status, record.logit, record.sha256) == (same.status, same.logit, same.sha256)
    (missing,) = records(detector, units_of(f"file://{photos}/none.png"))
    assert missing.error == Failure("missing", "no such file")
    with pytest.raises(UsageError, match="nosuch"):
        units_of("nosuch://bucket/a")


def make_tar(path, mode="w"):
    """Ten images with their captions, one damaged image."""
    members = [(f"{i // 2:04d}.{'txt' if i % 2 else 'png'}", encode(picture(i // 2, 40, 30))) for i in range(20)]
    with tarfile.open(path, mode) as archive:
        for name, data in [*members, ("bad.jpg", b"junk")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["photos.tar", "photos.tar.gz"])
def test_a_webdataset_tar(detector, tmp_path, name):
    path = make_tar(tmp_path / name, "w:gz" if name.endswith("gz") else "w")
    (unit,) = units_of(path)
    found = records(detector, [unit])
    assert [record.path for record in found] == [f"{path}::{i:04d}.png" for i in range(10)] + [f"{path}::bad.jpg"]
    assert [record.status for record in found] == ["ok"] * 10 + ["error"]
    assert found[3].logit == detector.detect(encode(picture(3, 40, 30))).logit


def test_a_damaged_tar_keeps_what_could_be_read(detector, tmp_path):
    whole = make_tar(tmp_path / "a.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "junk.tar").write_bytes(b"no archive" * 100)
    units = units_of(*(tmp_path / name for name in ("cut.tar", "junk.tar", "none.tar")))
    by_tar = [records(detector, [unit]) for unit in units]
    assert len(by_tar[0]) > 2
    assert by_tar[0][-1].status == "error"
    for found, says in ((by_tar[0][-1:], "damaged"), (by_tar[1], "damaged"), (by_tar[2], "no such file")):
        assert len(found) == 1
        assert says in found[0].error.text


def test_parquet_columns_of_bytes(detector, tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs the ray extra")
    pq = pytest.importorskip("pyarrow.parquet")
    data = [encode(picture(seed, 40, 30)) for seed in range(25)]
    data[4], data[9] = None, b"junk"
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": list(range(25)), "image": data}), path, row_group_size=10)
    units = units_of(path)
    assert [(unit.group, unit.first) for unit in units] == [(0, 0), (1, 10), (2, 20)]
    found = records(detector, units)
    assert [record.path for record in found] == [f"{path}::{row}" for row in range(25)]
    assert [row for row, record in enumerate(found) if record.status == "error"] == [4, 9]
    assert found[20].logit == detector.detect(data[20]).logit
    structs = tmp_path / "b.parquet"
    pq.write_table(pa.table({"photo": [{"bytes": value, "path": "x"} for value in data], "label": [1] * 25}), structs)
    assert [r.logit for r in records(detector, units_of(structs))] == [r.logit for r in found]
    several = tmp_path / "c.parquet"
    pq.write_table(pa.table({"one": data, "two": data}), several)
    with pytest.raises(UsageError, match="--column: one, two"):
        units_of(several)
    assert units_of(several, column="two")[0].column == "two"
    with pytest.raises(UsageError, match="no column 'id'"):
        units_of(path, column="id")
    (tmp_path / "d.parquet").write_bytes(b"junk")
    (broken,) = records(detector, units_of(tmp_path / "d.parquet"))
    assert "Parquet" in broken.error.text


@pytest.mark.parametrize("format_name", ["jsonl", "parquet"])
@pytest.mark.parametrize("prefix", ["", "file://"])
def test_shards_hold_whole_records(detector, photos, tmp_path, format_name, prefix):
    pytest.importorskip("fsspec", reason="needs the ray extra")
    if format_name == "parquet":
        pytest.importorskip("pyarrow", reason="needs the ray extra")
    folder = Folder(f"{prefix}{tmp_path}/out")
    assert folder.names() == set()
    expected = records(detector, units_of(photos))
    counts = write_shard(folder, 7, format_name, iter(expected))
    assert folder.names() == {shard_name(7, format_name)}
    assert list(map(to_dict, read_shard(folder, 7, format_name))) == list(map(to_dict, expected))
    assert count_shard(folder, 7, format_name) == counts
    assert (counts.total, counts.failed) == (21, 1)

    def dies():
        yield expected[0]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_shard(folder, 8, format_name, dies())
    assert folder.names() == {shard_name(7, format_name)}
    if format_name == "jsonl":
        assert json.loads((tmp_path / "out" / shard_name(7, "jsonl")).read_text().splitlines()[0])["schema"] == 1


@pytest.mark.parametrize("name", ["a.png", "a.zip", "a.tar", "a.parquet"])
@pytest.mark.parametrize("host", ["127.0.0.1:9", "169.254.169.254", "[::1]:9", "2130706433:9"])
def test_urls_of_private_addresses_are_failed_inputs(detector, host, name):
    pytest.importorskip("pyarrow")
    (record,) = records(detector, units_of(f"http://{host}/{name}", allow_url=True))
    assert record.error.kind == "unreadable"
    assert "not public; it is not fetched" in record.error.text


def test_urls_are_fetched_as_in_a_local_run(detector, monkeypatch):
    asked = []
    monkeypatch.setattr(storage, "fetch", lambda url: (asked.append(url), io.BytesIO(encode(picture(1))))[1])
    url = "HTTPS://example.org/a.png?x=[1]*"
    (record,) = records(detector, units_of(url, allow_url=True))
    assert (record.path, record.status, asked) == (url, "ok", [url])


@pytest.mark.parametrize("name", ["a.png", "a.zip", "a.tar", "a.parquet"])
def test_urls_are_failed_inputs_unless_they_are_allowed(detector, tmp_path, monkeypatch, name):
    monkeypatch.setattr(storage, "fetch", lambda url: pytest.fail(f"{url} was fetched"))
    url = f"https://example.org/{name}"
    listed = tmp_path / "list.txt"
    listed.write_text(f"{url}\n")
    for argument in (url, f"@{listed}"):
        (record,) = records(detector, units_of(argument))
        assert (record.path, record.error) == (url, Failure("unreadable", NOT_ALLOWED))


@pytest.mark.parametrize("url", ["zip://a.png::http://127.0.0.1:9/x.zip", "tar://*.png::https://example.org/x.tar"])
def test_chained_urls_do_not_go_around_the_check(url):
    with pytest.raises(UsageError, match="name the archive itself"):
        units_of(url)
