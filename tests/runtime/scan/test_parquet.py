"""Parquet without Ray: the same records, replaced only where they are ours; the hint where pyarrow is missing."""

import importlib.util
from contextlib import suppress

import pytest
from cinemae.runtime.core.environment import pip_install
from cinemae.runtime.core.errors import MissingDependencyError, OutputError
from cinemae.runtime.evidence.fact import Evidence, Trust
from cinemae.runtime.scan import parquet
from cinemae.runtime.scan.options import ScanOptions
from cinemae.runtime.scan.targets import Targets
from cinemae.runtime.scan.writers import file_writer
from cinemae.runtime.scoring.record import Frames, ScoredFrame, Tile, from_dict
from records import BROKEN, record

RECORDS = [
    record(
        "a.gif", "ai", ("grey", "band"), probability=0.75, logit=1.5, scored_area=0.5, tiles=(Tile(0, 1, 2, 3.5),),
        frames=Frames(9, 4, (ScoredFrame(0, None, 0.5, 0.6), ScoredFrame(4, 0.25, 1.5, 0.75))),
        evidence=(Evidence("source_type", "C2PA", "declares itself A", "A", "raw", "ai",
                           Trust("A", "valid", "unlisted", "unstamped", "unchecked")), Evidence("camera", "EXIF", "A")),
    ),
    record("b.png", error=BROKEN),
]


def test_without_pyarrow(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name))
    for options in ({"out": tmp_path / "x.parquet"}, {"format": "parquet"}):
        with pytest.raises(MissingDependencyError) as error:
            ScanOptions(inputs=("a",), **options).output_format(False)
        assert pip_install("parquet") in str(error.value)


def test_records_in_parquet(tmp_path, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    monkeypatch.setattr(parquet, "ROWS", 2)
    out = tmp_path / "deep" / "x.parquet"
    assert ScanOptions(inputs=("a",), out=out).output_format(True) == "parquet"
    for records in (RECORDS * 2 + RECORDS[:1], []):
        with file_writer(out, "parquet") as writer:
            for record in records:
                writer.write(record)
            assert out.exists() == (records == [])  # the first round's file is there until the second one is complete
            writer.finish()
        assert [from_dict(row) for row in pq.read_table(out).to_pylist()] == records
        Targets(out).check(())
        if records:
            with suppress(KeyboardInterrupt), file_writer(tmp_path / "y.parquet", "parquet") as writer:
                for record in records:
                    writer.write(record)
                raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["x.parquet"]


def test_a_foreign_parquet_file_is_not_replaced(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"path": ["a.png"]}), tmp_path / "mine.parquet")
    with pytest.raises(OutputError, match="does not hold records"):
        Targets(tmp_path / "mine.parquet").check(())
