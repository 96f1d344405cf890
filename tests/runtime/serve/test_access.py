"""Who may ask the server, and what its answers let a browser do."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")
pytest.importorskip("httpx")

from cinemae.runtime.serve.app import PAGE_FILES
from serve_tools import encode, picture, post


def test_the_token_guards_scores_but_neither_health_nor_the_page(serve):
    client, _ = serve(token="s3cret")
    data = encode(picture(1))
    assert post(client, data).status_code == 401
    assert post(client, data).headers["www-authenticate"].startswith("Bearer")
    for path in ("/metrics", "/v1/engine", "/openapi.json"):
        assert client.get(path).status_code == 401
    for path in ("/", "/page.js", "/healthz", "/readyz"):
        assert client.get(path).status_code == 200
    latin = "Bearer \u00e9".encode("latin-1")
    for wrong in ("Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret", "Bearer", latin):
        assert client.get("/v1/engine", headers={"Authorization": wrong}).status_code == 401
    client.headers["Authorization"] = "Bearer s3cret"
    assert post(client, data).status_code == 200
    assert client.get("/metrics").status_code == 200


def test_other_hosts_and_other_sites_are_refused(serve):
    client, _ = serve()
    data = encode(picture(1))
    assert post(client, data).status_code == 200
    assert client.get("/", headers={"Host": "evil.example:80"}).status_code == 421
    assert client.get("/", headers={"Host": "[::1]:8000"}).status_code == 200
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        headers = {"Sec-Fetch-Site": site, "Content-Type": "image/png"}
        assert client.post("/v1/detect", content=data, headers=headers).status_code == status


LOOKALIKES = (
    "[::1].evil.com", "[::1]evil.com:80", "[::1]:80:90", "[::1", "127.0.0.1:80:evil", "127.0.0.1:evil.com",
    "127.0.0.1:80, evil.com", "127.0.0.1@evil.com", "127.0.0.1.evil.com", "",
)


@pytest.mark.parametrize("host", LOOKALIKES)
def test_a_host_that_only_begins_like_an_allowed_one_is_refused(serve, host):
    client, _ = serve()
    assert client.get("/", headers={"Host": host}).status_code == 421


def test_every_answer_carries_the_security_headers(serve):
    client, _ = serve(token="t")
    for path in ("/", "/page.js", "/v1/engine", "/nothing-here", "/healthz"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_the_page_is_self_contained(serve):
    client, _ = serve()
    for path in PAGE_FILES:
        answer = client.get(path)
        assert answer.status_code == 200
        assert "http://" not in answer.text.replace("http://www.w3.org/", "")
        assert "https://" not in answer.text
        assert "<script>" not in answer.text
        assert "style=" not in answer.text
