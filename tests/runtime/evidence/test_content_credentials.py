"""Content Credentials: verified with c2pa-python, only reported without it, and never from the network."""

from __future__ import annotations

import http.server
import io
import sys
import threading

import pytest
from cinemae.runtime.core.environment import pip_install
from facts_of import facts_of
from PIL import Image, features
from signed_images import signed

IMAGE = Image.effect_noise((64, 48), 60).convert("RGB")
KINDS = {"JPEG": "JPEG APP11", "PNG": "PNG caBX", "TIFF": "TIFF tag 52545", "WEBP": "WebP C2PA"}


def facts(data: bytes) -> dict:
    return {fact.kind: fact for fact in facts_of(data)}


@pytest.mark.parametrize("kind", KINDS)
def test_signed_image_names_its_signer_generator_and_source_type(kind):
    found = facts(signed(IMAGE, kind))
    credentials = found["content_credentials"]
    assert credentials.value == "valid"
    assert credentials.source == f"C2PA manifest in {KINDS[kind]}"
    assert credentials.statement == (
        "signed by Test Signer, Example Newsroom; signature and content match; its certificate is not on a trust list "
        "here; made with Test Generator, DALL-E"
    )
    assert found["source_type"].value == "trainedAlgorithmicMedia"
    assert found["source_type"].source.endswith("signature valid")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow cannot write AVIF")
def test_signed_avif():
    assert facts(signed(IMAGE, "AVIF"))["content_credentials"].source == "C2PA manifest in HEIF uuid box"


def test_changed_pixels_make_the_credentials_invalid():
    data = bytearray(signed(IMAGE, "JPEG"))
    data[-30] ^= 1
    found = facts(bytes(data))
    assert found["content_credentials"].value == "invalid"
    assert "NOT valid (assertion.dataHash.mismatch)" in found["content_credentials"].statement
    assert found["source_type"].source.endswith("signature invalid")


def test_damaged_manifest_is_reported_as_unreadable():
    data = signed(IMAGE, "WEBP")
    start = data.index(b"C2PA") + 60
    found = facts(data[:start] + bytes(200) + data[start + 200 :])
    assert found["content_credentials"].value in ("unreadable", "invalid")


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_library_presence_is_reported(kind, monkeypatch):
    data = signed(IMAGE, kind)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    found = facts(data)
    assert found["content_credentials"].value == "present"
    assert found["content_credentials"].statement == f"present, not verified: {pip_install('provenance')}"
    assert "source_type" not in found


def test_remote_manifest_is_named_and_not_fetched():
    requests = []

    class Recorder(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/manifest.c2pa"
        data = signed(IMAGE, "JPEG", remote=address)
        found = facts(data)
        import c2pa
        from cinemae.runtime.evidence.content_credentials import OFFLINE

        with pytest.raises(c2pa.C2paError), c2pa.Context.from_dict(OFFLINE) as context:
            c2pa.Reader("image/jpeg", io.BytesIO(data), context=context)
        server.shutdown()
    assert found["content_credentials"].value == "remote"
    assert address in found["content_credentials"].statement
    assert requests == []
