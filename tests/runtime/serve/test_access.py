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
    for path, status in (("/metrics", 401), ("/v1/engine", 401), ("/openapi.json", 401), ("/", 200), ("/page.js", 200),
                         ("/healthz", 200), ("/readyz", 200)):
        assert client.get(path).status_code == status
    latin = "Bearer \u00e9".encode("latin-1")
    for wrong in ("Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret", "Bearer", latin):
        assert client.get("/v1/engine", headers={"Authorization": wrong}).status_code == 401
    client.headers["Authorization"] = "Bearer s3cret"
    assert post(client, data).status_code == client.get("/metrics").status_code == 200


def test_posts_from_other_sites_are_refused(serve):
    client, _ = serve()
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        headers = {"Sec-Fetch-Site": site, "Content-Type": "image/png"}
        assert client.post("/v1/detect", content=encode(picture(1)), headers=headers).status_code == status


@pytest.mark.parametrize("host", [
    "evil.example:80", "[::1].evil.com", "[::1]evil.com:80", "[::1]:80:90", "[::1", "127.0.0.1:80:evil",
    "127.0.0.1:evil.com", "127.0.0.1:80, evil.com", "127.0.0.1@evil.com", "127.0.0.1.evil.com", "",
])
def test_a_host_that_is_not_or_only_begins_like_an_allowed_one_is_refused(serve, host):
    client, _ = serve()
    assert client.get("/", headers={"Host": host}).status_code == 421
    assert client.get("/", headers={"Host": "[::1]:8000"}).status_code == 200


def test_answers_carry_the_security_headers_and_the_page_is_self_contained(serve):
    client, _ = serve()
    for path in (*PAGE_FILES, "/v1/engine", "/nothing-here", "/healthz"):
        answer = client.get(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers
        if path in PAGE_FILES:
            assert answer.status_code == 200
            text = answer.text.replace("http://www.w3.org/", "")
            assert not any(word in text for word in ("http://", "https://", "<script>", "style="))
