"""What load balancers, kubelets and log collectors ask of a server."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")
pytest.importorskip("httpx")

from cinemae.runtime.serve import logs, server
from cinemae.runtime.serve.app import PAGE_FILES
from serve_tools import encode, picture, post


def test_probes_are_answered_under_every_host(serve):
    client, _ = serve(token="s3cret")
    for host, status in (("10.1.2.3:8000", 200), ("", 200), ("evil.example", 200)):
        for path in ("/healthz", "/readyz"):
            assert client.get(path, headers={"Host": host}).status_code == status
    assert client.get("/v1/engine", headers={"Host": "10.1.2.3:8000"}).status_code == 421


def test_head_is_answered_as_get_without_a_body(serve):
    client, _ = serve()
    for path in (*PAGE_FILES, "/healthz", "/readyz", "/v1/engine", "/openapi.json"):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    assert client.head("/metrics").status_code == 200
    assert client.head("/v1/detect").status_code == 405
    assert client.head("/nothing-here").status_code == 404


def test_a_trailing_slash_is_not_redirected(serve):
    client, _ = serve()
    for path in ("/v1/detect/", "/healthz/", "/docs/"):
        assert client.get(path, follow_redirects=False).status_code == 404


def test_a_score_that_is_not_finite_is_the_servers_fault(serve, engine, monkeypatch):
    client, _ = serve()
    infer = engine.infer

    def broken(images):
        output = infer(images)
        output.logit[:] = np.nan
        return output

    monkeypatch.setattr(engine, "infer", broken)
    answer = post(client, encode(picture(1)))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (500, 500)
    assert answer.json()["records"][0]["error"]["kind"] == "engine"


def test_the_id_of_a_request_comes_back(serve):
    client, _ = serve()
    ask = {"X-Request-ID": "7b3f-1.a_B"}
    assert client.get("/healthz", headers=ask).headers["x-request-id"] == "7b3f-1.a_B"
    assert post(client, b"junk").headers["x-request-id"] != post(client, b"junk").headers["x-request-id"]
    for bad in ("a b", 'x"y', "x" * 129, ""):
        assert client.get("/healthz", headers={"X-Request-ID": bad}).headers["x-request-id"] not in ("", bad)


@pytest.fixture
def json_lines(capsys):
    """The JSON lines on stderr since the last call."""
    root, own = logging.getLogger(), logs.log
    kept = root.handlers[:], root.level, own.level
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    root.handlers[:], root.level, own.level = kept


def test_requests_and_failures_are_json_lines_of_one_id(serve, engine, json_lines):
    logs.log_to_stderr(as_json=True)
    client, _ = serve(log_json=True)
    engine.fails = True
    client.post("/v1/detect?name=secret.png", content=encode(picture(1)), headers={"X-Request-ID": "one"})
    client.head("/healthz", headers={"X-Request-ID": "two"})
    failed, *requests = json_lines()
    assert failed.keys() == {"time", "level", "message", "requests"}
    assert (failed["level"], failed["requests"]) == ("error", ["one"])
    assert "device lost" in failed["message"]
    assert [(r["request"], r["method"], r["path"], r["status"]) for r in requests] == [
        ("one", "POST", "/v1/detect", 503), ("two", "HEAD", "/healthz", 200)
    ]
    assert all(r["seconds"] >= 0 for r in requests)


def test_plain_logs_are_sentences(serve, engine, json_lines, capsys):
    logs.log_to_stderr(as_json=False)
    client, _ = serve()
    engine.fails = True
    post(client, encode(picture(1)))
    logs.log.info("note: a sentence")
    assert capsys.readouterr().err.splitlines() == ["error: inference failed: RuntimeError: device lost",
                                                    "note: a sentence"]


def test_settings_come_from_the_environment(monkeypatch):
    from cinemae.runtime.cli import serve as command
    from typer.testing import CliRunner

    seen = []
    monkeypatch.setattr(server, "launch", seen.append)
    given = {"CINEMAE_PORT": "8123", "CINEMAE_ALLOW_HOST": "a.example b.example", "CINEMAE_MAX_QUEUE": "64",
             "CINEMAE_TILES": "1", "CINEMAE_PRIOR": "10%", "CINEMAE_LOG_JSON": "true"}
    assert CliRunner().invoke(command.app, ["--port", "9000"], env=given).exit_code == 0
    (options,) = seen
    assert (options.port, options.allow_host, options.limits.max_queue) == (9000, ("a.example", "b.example"), 64)
    assert (options.scoring.tiles, options.scoring.prior, options.log_json) == (True, 0.1, True)
    refused = CliRunner().invoke(command.app, [], env={"CINEMAE_PORT": "tcp://10.0.0.1:80"})
    assert refused.exit_code == 2
    assert "CINEMAE_PORT" in refused.output
