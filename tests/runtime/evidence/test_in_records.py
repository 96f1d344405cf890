"""Evidence reaches the record and the server's schema, and never the score."""

from __future__ import annotations

import io

import pytest
from cinemae.runtime import Detector
from metadata_files import png_texts
from pictures import encoded, picture
from PIL import Image
from signed_images import DAYS, certificates, signed
from writer_forms import WEBUI


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


def test_openapi_describes_evidence():
    pytest.importorskip("fastapi")
    from cinemae.runtime.serve.schema import DetectBody

    schema = DetectBody.model_json_schema(mode="serialization")["$defs"]["Evidence"]
    assert set(schema["properties"]) == {"kind", "source", "statement", "value", "raw", "declares", "trust"}
    assert "camera" in schema["properties"]["kind"]["enum"]
