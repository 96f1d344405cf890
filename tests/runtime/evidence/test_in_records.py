"""Evidence on its way out: record, JSON, CSV, Parquet, table, report and the server's schema; never in the score."""

from __future__ import annotations

import io
import json

import pytest
from cinemae.runtime import Detector
from cinemae.runtime.evidence.fact import Evidence, Trust
from cinemae.runtime.report.html import record_row
from cinemae.runtime.scan.table import TableWriter
from cinemae.runtime.scoring.record import flat, from_dict, to_dict, to_json
from metadata_files import png_texts
from pictures import encoded, picture
from PIL import Image
from records import record
from signed_images import DAYS, certificates, signed
from writer_forms import WEBUI

TRUST = Trust("A", "valid", "unlisted", "unstamped", "unchecked")
FACTS = (
    Evidence("source_type", "C2PA manifest", "The file declares itself A", "A", "raw", "ai", TRUST),
    Evidence("camera", "EXIF", "The file names the camera A", "A"),
    Evidence("jpeg_quality", "JPEG quantisation table", "The file has JPEG quality 92", "92"),
)
RECORD = record("a.jpg", verdict="real", probability=0.1, logit=-2.0, evidence=FACTS)


@pytest.fixture(scope="module")
def detector(tiny_engine):
    with Detector.load(tiny_engine) as loaded:
        yield loaded


def test_evidence_is_the_same_for_path_bytes_and_stream_and_never_in_the_score(detector, tmp_path):
    data, path = png_texts({"parameters": WEBUI}), tmp_path / "a.png"
    path.write_bytes(data)
    records = [detector.detect(source) for source in (path, data, memoryview(data), io.BytesIO(data))]
    for one in records:
        assert [(fact.kind, fact.value) for fact in one.evidence] == [("generator", "Stable Diffusion WebUI")]
    plain = detector.detect(encoded(Image.open(io.BytesIO(data))))
    assert plain.evidence == detector.detect(picture()).evidence == ()
    for one in records:
        assert (one.logit, one.verdict, one.reasons) == (plain.logit, plain.verdict, plain.reasons)


def test_trust_list_reaches_the_evidence(tiny_engine, tmp_path):
    (tmp_path / "list.pem").write_bytes(certificates(*DAYS)[2])
    with Detector.load(tiny_engine, trust_list=(str(tmp_path / "list.pem"),)) as detector:
        facts = detector.detect(signed(picture())).evidence
    assert facts[0].trust.listing == "listed"


def test_json_round_trip():
    values = json.loads(to_json(RECORD))
    assert values["evidence"][0] == {
        "kind": "source_type", "source": "C2PA manifest", "statement": "The file declares itself A", "value": "A",
        "raw": "raw", "declares": "ai",
        "trust": {"signer": "A", "signature": "valid", "listing": "unlisted", "time": "unstamped",
                  "revocation": "unchecked"},
    }
    assert from_dict(values) == RECORD


def test_csv_joins_statements():
    assert flat(RECORD)["evidence"] == "; ".join(fact.statement for fact in FACTS)


def test_parquet_keeps_the_structure(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    from cinemae.runtime.scan.parquet import ParquetFile

    writer = ParquetFile(tmp_path / "a.parquet")
    for one in (RECORD, from_dict({**to_dict(RECORD), "evidence": []})):
        writer.write(one)
    writer.finish()
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [from_dict(row).evidence for row in rows] == [FACTS, ()]


def test_table_has_the_facts_beneath_without_the_quality():
    from rich.console import Console

    out = io.StringIO()
    TableWriter(Console(file=out, width=200), RECORD.run).write(RECORD)
    assert FACTS[1].statement in out.getvalue()
    assert FACTS[2].statement not in out.getvalue()


def test_report_row_names_statement_and_source(tmp_path):
    row = json.loads(record_row(RECORD, tmp_path)[0])
    assert row["o"][0] == ["The file declares itself A", "C2PA manifest", "source_type"]


def test_openapi_describes_evidence():
    pytest.importorskip("fastapi")
    from cinemae.runtime.serve.schema import DetectBody

    schema = DetectBody.model_json_schema(mode="serialization")["$defs"]["Evidence"]
    assert set(schema["properties"]) == {"kind", "source", "statement", "value", "raw", "declares", "trust"}
    assert "camera" in schema["properties"]["kind"]["enum"]
