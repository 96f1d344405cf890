"""Evidence on its way out: record, JSON, CSV, Parquet, table, report and the server's schema; never in the score."""

from __future__ import annotations

import io
import json

import pytest
from cinemae.runtime import Detector
from cinemae.runtime.evidence.fact import Evidence
from cinemae.runtime.report.html import record_row
from cinemae.runtime.scan.table import TableWriter
from cinemae.runtime.scan.writers import CSV_COLUMNS, csv_row
from cinemae.runtime.scoring.record import Record, from_dict, to_dict, to_json
from pictures import encoded, picture
from PIL import PngImagePlugin

SETTINGS = "a red fox\nSteps: 20, Sampler: Euler a, CFG scale: 7"
FACTS = (
    Evidence("camera", "EXIF", "names the camera A", "A"),
    Evidence("jpeg_quality", "JPEG quantisation table", "JPEG quality about 92 (a table of libjpeg)", "92"),
)
RECORD = Record("a.jpg", "ok", verdict="real", probability=0.1, logit=-2.0, evidence=FACTS)


@pytest.fixture(scope="module")
def detector(tiny_engine):
    with Detector.load(tiny_engine) as loaded:
        yield loaded


def with_parameters() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", SETTINGS)
    return encoded(picture(), pnginfo=info)


def test_evidence_is_the_same_for_path_bytes_and_stream_and_never_in_the_score(detector, tmp_path):
    data, path = with_parameters(), tmp_path / "a.png"
    path.write_bytes(data)
    records = [detector.detect(source) for source in (path, data, memoryview(data), io.BytesIO(data))]
    for record in records:
        assert [(fact.kind, fact.value) for fact in record.evidence] == [("generator", "Stable Diffusion WebUI")]
    plain = detector.detect(encoded(picture()))
    assert plain.evidence == detector.detect(picture()).evidence == ()
    for record in records:
        assert (record.logit, record.verdict, record.reasons) == (plain.logit, plain.verdict, plain.reasons)


def test_json_round_trip_and_records_from_before():
    values = json.loads(to_json(RECORD))
    assert values["evidence"][0] == {
        "kind": "camera", "source": "EXIF", "statement": "names the camera A", "value": "A",
    }
    assert from_dict(values) == RECORD
    del values["evidence"]
    assert from_dict(values).evidence == ()


def test_csv_joins_statements():
    assert csv_row(RECORD)[CSV_COLUMNS.index("evidence")] == (
        "names the camera A; JPEG quality about 92 (a table of libjpeg)"
    )


def test_parquet_keeps_the_structure(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    from cinemae.runtime.scan.parquet import write_parquet

    write_parquet(tmp_path / "a.parquet", iter([RECORD, from_dict({**to_dict(RECORD), "evidence": []})]))
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [from_dict(row).evidence for row in rows] == [FACTS, ()]


def test_table_has_one_line_beneath_without_the_quality(detector):
    from rich.console import Console

    out = io.StringIO()
    TableWriter(Console(file=out, width=80), detector.reading).write(RECORD)
    assert out.getvalue().splitlines()[-1].strip() == "file: names the camera A"


def test_report_row_names_statement_and_source(tmp_path):
    row = json.loads(record_row(RECORD, tmp_path)[0])
    assert row["o"][0] == ["names the camera A", "EXIF"]


def test_openapi_describes_evidence():
    pytest.importorskip("fastapi")
    from cinemae.runtime.serve.schema import DetectBody

    schema = DetectBody.model_json_schema(mode="serialization")["$defs"]["Evidence"]
    assert set(schema["properties"]) == {"kind", "source", "statement", "value"}
    assert "camera" in schema["properties"]["kind"]["enum"]
