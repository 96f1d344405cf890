"""Malformed, oversized, slow and hostile requests: each gets a clear 4xx, and the server goes on."""

from __future__ import annotations

import io
import json
import re
import socket
import struct
import time
import zlib

import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")
httpx = pytest.importorskip("httpx")

from cinemae.runtime.core.errors import UsageError  # noqa: E402
from cinemae.runtime.images.formats import FORMATS  # noqa: E402
from cinemae.runtime.serve.options import MIB, Limits, ServedScoring, ServeOptions  # noqa: E402
from PIL import Image  # noqa: E402
from serve_tools import ArithmeticEngine, encode, picture, serving, wait_for  # noqa: E402

LIMITS = Limits(
    max_body_mb=60_000 / MIB, max_file_mb=40_000 / MIB, max_images=4, max_queue=8, max_buffered_mb=200_000 / MIB,
    read_timeout=2, header_timeout=2,
)

NAMED = b'--x\r\nContent-Disposition: form-data; name="\xff"; filename="xn--\xff"\r\n\r\nx\r\n--x--\r\n'


@pytest.fixture(scope="module")
def address(tiny_manifest):
    options = ServeOptions(scoring=ServedScoring(max_pixels=100_000), limits=LIMITS, drain=0, allow_host=("x",))
    with serving(ArithmeticEngine(tiny_manifest), options) as (base, _):
        yield base


@pytest.fixture
def client(address):
    """A client; afterwards the server still scores a good image."""
    with httpx.Client(base_url=address, timeout=60) as made:
        yield made
        answer = made.post("/v1/detect", content=encode(picture(0)))
        assert answer.status_code == 200
        assert answer.json()["records"][0]["status"] == "ok"


def bomb(width, height):
    """A PNG whose header promises width x height pixels and whose data holds none."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def encoded(mode, size, kind):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind)
    return buffer.getvalue()


BAD_IMAGES = {
    "empty": (b"", 415), "text": (b"hello", 415), "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
    "jpeg-head": (b"\xff\xd8\xff\xe0", 415), "no-pixels": (bomb(0, 5), 415), "cut-png": (encode(picture(1))[:300], 422),
    "cut-jpeg": (encode(picture(1), "JPEG")[:700], 422), "bomb": (bomb(60_000, 60_000), 413),
    "huge-bomb": (bomb(2**31 - 1, 2**31 - 1), 413), "pixels": (encoded("L", (400, 300), "PNG"), 413),
    "bytes": (encode(picture(1)) + b"x" * 30_000, 413),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_a_record_with_a_4xx(client, name):
    data, status = BAD_IMAGES[name]
    answer = client.post("/v1/detect", content=data, headers={"Content-Type": "image/png"})
    body = answer.json()
    assert answer.status_code == status
    (record,) = body["records"]
    assert record["status"] == "error"
    assert record["error"]["kind"] == {413: "too_large", 415: "unsupported", 422: "damaged"}[status]
    assert body["errors"] == [{"index": 0, "code": status, "detail": record["error"]["text"]}]
    assert body["detail"] == record["error"]["text"] != ""


OTHER_KINDS = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "pdf": encoded("L", (9, 9), "PDF"),
    "psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3) + bytes(16),
    "pcx": encoded("L", (9, 9), "PCX"), "ico": encoded("L", (16, 16), "ICO"), "sgi": encoded("L", (9, 9), "SGI"),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_no_decoder_but_those_on_the_list_ever_sees_an_upload(client, monkeypatch, kind):
    asked, real = [], Image.open

    def watched(file, mode="r", formats=None):
        asked.append(formats)
        return real(file, mode, formats)

    monkeypatch.setattr(Image, "open", watched)
    assert client.post("/v1/detect", content=OTHER_KINDS[kind]).status_code == 415
    assert asked
    assert all(formats is not None and set(formats) <= set(FORMATS) for formats in asked)


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "application/json"}, b"{}", 415),
        ({"Content-Type": "text/html"}, b"x", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"url=http://169.254.169.254/", 415),
        ({"Content-Type": "image/png", "Content-Encoding": "gzip"}, b"x", 415),
        ({"Content-Type": "multipart/form-data"}, b"x", 400),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"", 400),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"no boundary here", 400),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n\r\nno disposition\r\n--x--\r\n", 400),
        ({"Content-Type": "multipart/form-data; boundary=" + "x" * 5000}, b"--x", 400),
        ({"Content-Type": "multipart/form-data; boundary=\u00e9".encode("latin-1")}, b"--x", 400),
        ({"Content-Type": "multipart/form-data; charset=undefined; boundary=x"}, NAMED, 415),
        ({"Content-Type": "multipart/form-data; boundary=x; charset=idna"}, NAMED, 415),
        ({"Content-Type": "image/png"}, b"x" * 60_001, 413),
        ({"Content-Type": "image/png"}, b"x" * 10_000_000, 413),
    ],
)
def test_a_request_that_is_not_understood(client, headers, content, status):
    answer = client.post("/v1/detect", content=content, headers=headers)
    assert answer.status_code == status
    assert len(answer.json()["detail"]) > 10


def test_too_much_and_too_many_and_forms_without_files(client):
    without_length = (b"x" * 5000 for _ in range(20))
    assert client.post("/v1/detect", content=without_length, headers={"Content-Type": "image/png"}).status_code == 413
    assert client.post("/v1/detect", files=[("file", ("a.png", encode(picture(0, 8, 8))))] * 5).status_code == 413
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    for count in (1, 50):
        field = '--b\r\nContent-Disposition: form-data; name="url"\r\n\r\nhttp://localhost/\r\n'
        assert client.post("/v1/detect", content=field * count + "--b--\r\n", headers=headers).status_code == 400


def test_file_names_are_data(client):
    names = ["../../etc/passwd", "<img src=x onerror=alert(1)>.png", "a\tb", "\u202egnp.exe", "n" * 3000, "日本.png"]
    for name in names:
        answer = client.post("/v1/detect", params={"name": name[:1024]}, content=encode(picture(0)))
        assert answer.json()["records"][0]["path"] == name[:1024]
        body = client.post("/v1/detect", files=[("file", (name, encode(picture(0))))]).json()
        assert len(body["records"][0]["path"]) <= 1024
    lone = client.post("/v1/detect?name=%ff%fe", content=encode(picture(0)))
    assert lone.status_code == 200
    json.dumps(lone.json(), ensure_ascii=False).encode("utf-8")
    assert client.post("/v1/detect", params={"name": "x" * 1025}, content=b"x").status_code == 422
    assert client.post("/v1/detect?lcas=perhaps", content=b"x").status_code == 422


def test_no_upload_reaches_the_disk(client, monkeypatch):
    import tempfile

    def refuse(*args, **kwargs):
        raise AssertionError("a temporary file was made")

    for name in ("mkstemp", "TemporaryFile", "NamedTemporaryFile"):
        monkeypatch.setattr(tempfile, name, refuse)
    files = [("file", (f"{i}.png", encode(picture(i, 90, 60)))) for i in range(3)]
    assert client.post("/v1/detect", files=files).status_code == 200


def connect(address):
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def head(length):
    lines = ("POST /v1/detect HTTP/1.1", "Host: x", "Content-Type: image/png", f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_all(connection):
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_body_that_trickles_in_is_408(client, address):
    with connect(address) as connection:
        connection.sendall(head(1000))
        for _ in range(4):
            connection.sendall(b"x")
            time.sleep(0.1)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("sent", [b"", b"POST /v1/det", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_connection_that_never_finishes_its_head_is_closed(client, address, sent):
    with connect(address) as connection:
        connection.sendall(sent)
        assert read_all(connection) == b""


def ask(connection):
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b'{"status":"ok"}'):
        answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_a_later_request_has_as_long_for_its_head_as_the_first(client, address):
    with connect(address) as connection:
        ask(connection)
        time.sleep(LIMITS.header_timeout * 1.5)  # idle between two requests: allowed
        ask(connection)
        for byte in (b"G", b"E", b"T"):  # trickling: not allowed
            connection.sendall(byte)
            time.sleep(0.1)
        assert read_all(connection) == b""


def test_a_request_body_that_nobody_reads_does_not_hold_the_connection(client, address):
    with connect(address) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        time.sleep(0.1)
        connection.sendall(b"x")
        while connection.recv(65536):
            pass


def test_a_head_without_end_is_refused(client, address):
    with connect(address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 70_000)
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


def test_clients_that_hang_up_mid_body_cost_nothing(client, address):
    before = count_of(client, 400)
    for _ in range(20):  # together more than the bytes that the server holds at once
        with connect(address) as connection:
            connection.sendall(head(50_000) + b"x" * 20_000)
    wait_for(lambda: sum(count_of(client, status) for status in (400, 429)) >= before + 20)


def count_of(client, status):
    found = re.search(rf'cinemae_requests_total{{status="{status}"}} (\d+)', client.get("/metrics").text)
    return int(found[1]) if found else 0


def test_unknown_paths_and_methods(client):
    for path in ("/../../etc/passwd", "/page/index.html", "/redoc"):
        assert client.get(path).status_code == 404
    assert client.get("/v1/detect").status_code == 405


@pytest.mark.parametrize("token", ["", " x", "\u00e9"])
def test_tokens_that_no_header_can_hold_are_refused(token):
    with pytest.raises(UsageError):
        ServeOptions(token=token)
