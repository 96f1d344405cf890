"""`--allow-url`: addresses, redirects, sizes and slow servers; images on stdin."""

import gzip
import io
import math
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cinemae.runtime.core.errors import ImageError, UsageError
from cinemae.runtime.scan import urls
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.urls import fetch, is_public
from pictures import cinemae_run, encoded, json_lines, picture

IMAGE = encoded(picture())


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        path, body, headers, steps = self.path, IMAGE, {}, 1
        if path.startswith("/to/"):
            headers["Location"] = path[4:]
        elif path == "/huge":
            headers["Content-Length"] = 1 << 40
        elif path == "/short":
            headers["Content-Length"] = len(IMAGE) + 5
        elif path in ("/gzip", "/bomb"):
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(IMAGE if path == "/gzip" else bytes(10 << 20))
        elif path == "/br":
            headers["Content-Encoding"] = "br"
        elif path == "/slow":
            steps = 600
        elif path == "/endless":
            body = IMAGE * 100
        self.send_response(302 if "Location" in headers else 404 if path == "/missing" else 200)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        try:
            for i in range(steps):
                self.wfile.write(body[i : i + 1] if steps > 1 else body)
                self.wfile.flush()
                time.sleep(0.1 if steps > 1 else 0)
        except OSError:
            pass

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def public(monkeypatch):
    """The test server counts as public; the address 127.0.0.2 does not."""
    monkeypatch.setattr(urls, "is_public", lambda address: address == "127.0.0.1")


NEVER = (
    "127.0.0.1 10.1.2.3 172.16.0.1 192.168.0.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255 ::1 :: "
    "fe80::1%eth0 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: 2001:db8::1 fec0::1 "
    "::127.0.0.1 ::a00:1 64:ff9b:1::a00:1 4000::1"
)
PUBLIC = "93.184.216.34 8.8.8.8 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808"


@pytest.mark.parametrize(("addresses", "expected"), [(NEVER, False), (PUBLIC, True)])
def test_only_public_addresses_are_fetched(addresses, expected):
    assert [address for address in addresses.split() if is_public(address) is not expected] == []


def test_a_local_server_is_not_fetched(server):
    for url in (server, server.replace("127.0.0.1", "localhost"), "http://2130706433:1/"):
        with pytest.raises(ImageError, match="not public"):
            fetch(url + "/a.png")


@pytest.mark.parametrize("path", ["/a.png", "/gzip", "/to//a.png", "/to//to//a.png", "/ä b?c=d|e"])
def test_fetching(server, public, path):
    assert fetch(server + path).read() == IMAGE


@pytest.mark.parametrize(
    ("path", "message"),
    [("/missing", "404"), ("/huge", "more than"), ("/endless", "more than"), ("/bomb", "more than"),
     ("/br", "encoding"), ("/short", "IncompleteRead|too early"), ("/to/file:///etc/passwd", "not an http"),
     ("/to/ftp://127.0.0.1/", "not an http"), ("/to/http://127.0.0.2:9/", "not public"),
     ("/to/" * 7 + "/a.png", "more than 5 times")],
)
def test_answers_that_are_refused(server, public, monkeypatch, path, message):
    monkeypatch.setattr(urls, "MAX_URL_BYTES", len(IMAGE) * 2)
    with pytest.raises(ImageError, match=message):
        fetch(server + path)


def test_slow_servers_end(server, public, monkeypatch):
    monkeypatch.setattr(urls, "TOTAL_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(ImageError, match=r"longer than 0\.5 s"):
        fetch(server + "/slow")
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, pytest.raises(ImageError, match=r"longer than 0\.5 s"):
        fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert time.monotonic() - start < 30  # the first answers for a minute, the second for ever


def test_the_checked_address_is_the_one_connected_to(server, monkeypatch):
    """DNS rebinding: a second look-up that gives another address is never made."""
    answers = iter([[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))]])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: next(answers))
    reached = []

    def connect(sock, address):
        reached.append(address)
        raise OSError("nobody is there")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(ImageError):
        fetch("http://example.org/")
    assert reached == [("8.8.8.8", 80)]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_with_many_silent_addresses_ends(monkeypatch, scheme):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))] * 100
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
    monkeypatch.setattr(urls, "TOTAL_SECONDS", 0.5)
    tried = []

    def connect(sock, address):
        tried.append(address)
        time.sleep(0.1)
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(ImageError, match=r"longer than 0\.5 s"):
        fetch(f"{scheme}://example.org/")
    assert len(tried) < 10


def test_a_slow_handshake_leaves_no_time_for_an_answer(server, public, monkeypatch):
    monkeypatch.setattr(urls, "TOTAL_SECONDS", 0.3)
    connect = urls._connect
    monkeypatch.setattr(urls, "_connect", lambda *arguments: (time.sleep(0.5), connect(*arguments[:2], math.inf))[1])
    with pytest.raises(ImageError, match=r"longer than 0\.3 s"):
        fetch(server + "/a.png")


def test_urls_as_inputs(server, public, tiny_engine, tmp_path):
    url = server + "/a.png?x=[1]*"
    (item,) = Inputs((url,), allow_url=True)
    assert (item.name, item.error) == (url, None)
    assert item.image().read() == IMAGE
    for options, message in (((), "--allow-url"), (("--allow-url",), "not public")):
        found = cinemae_run(url, "--engine", tiny_engine, "-q", *options)
        error = json_lines(found.stdout)[0]["error"]
        assert (found.returncode, error["kind"]) == (1, "unreadable")
        assert message in error["text"]


def test_an_image_on_stdin(tiny_engine):
    with pytest.raises(UsageError, match="--stdin-image"):
        list(Inputs(("-",), io.BytesIO(IMAGE)))
    told = cinemae_run("-", "--engine", tiny_engine, "-q", input=IMAGE)
    assert (told.returncode, told.stdout) == (2, b"")
    assert b"give --stdin-image" in told.stderr
    found = cinemae_run("-", "--stdin-image", "--engine", tiny_engine, "-q", input=IMAGE)
    assert found.returncode == 0
    assert [(record["path"], record["width"]) for record in json_lines(found.stdout)] == [("-", 96)]
