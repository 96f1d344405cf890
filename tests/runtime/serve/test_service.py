"""The server: the records of a local run, batching, 429, readiness, access control, orderly shutdown."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")
httpx = pytest.importorskip("httpx")

from cinemae.runtime.images.source import NamedSource  # noqa: E402
from cinemae.runtime.scoring.detector import Detector  # noqa: E402
from cinemae.runtime.scoring.record import to_dict  # noqa: E402
from cinemae.runtime.serve.options import MIB, Limits, ServedScoring  # noqa: E402
from moving_pictures import animation, frames_of  # noqa: E402
from PIL.GifImagePlugin import GifImageFile  # noqa: E402
from serve_tools import encode, picture, post, wait_for  # noqa: E402

BATCH_LOGIT_TOLERANCE = 1e-5
"""Batches are formed by arrival, so sums inside the engine may be ordered differently; logits here are of order 1."""


def test_one_raw_image(serve, engine):
    client, _ = serve()
    data = encode(picture(1))
    answer = post(client, data, name="holiday.png", lcas="true")
    expected = Detector(engine, engine.manifest, ServedScoring()).detect(NamedSource("holiday.png", data))
    body = answer.json()
    assert answer.status_code == 200
    assert body["records"] == [to_dict(expected)]
    assert body["errors"] == []
    assert np.allclose(body["heatmaps"][0]["lcas"], expected.lcas)
    assert body["heatmaps"][0]["grid"] ** 2 == len(body["heatmaps"][0]["lcas"])


def test_the_heatmap_of_a_tiled_image_is_that_of_the_whole(serve):
    client, _ = serve(scoring=ServedScoring(tiles=True))
    body = post(client, encode(picture(1, 300, 90)), lcas="true").json()
    (heatmap,) = body["heatmaps"]
    rows, rest = divmod(len(heatmap["lcas"]), heatmap["grid"])
    assert (len(body["records"][0]["tiles"]) > 1, rest) == (True, 0)
    assert heatmap["grid"] / rows == pytest.approx(300 / 90, rel=0.2)


def test_of_a_long_animation_the_first_frame_alone_is_decoded(serve, monkeypatch):
    sought, seek = [], GifImageFile.seek
    monkeypatch.setattr(GifImageFile, "seek", lambda image, frame: (sought.append(frame), seek(image, frame))[1])
    client, _ = serve()
    data = animation("GIF", frames_of(6))
    sought.clear()
    (record,) = post(client, data).json()["records"]
    assert (record["frames"]["count"], len(record["frames"]["scored"]), sought) == (6, 1, [])
    assert "first" in [reason["code"] for reason in record["reasons"]]
    asked, _ = serve(scoring=ServedScoring(frames=3))
    (record,) = post(asked, data).json()["records"]
    assert [frame["index"] for frame in record["frames"]["scored"]] == [0, 2, 5]
    assert max(sought) == 5


def test_a_raw_body_may_name_its_type_as_clients_do(serve):
    client, _ = serve()
    for kind in ("image/png", "video/mp4", "application/octet-stream", "application/x-www-form-urlencoded"):
        answer = client.post("/v1/detect", content=encode(picture(1)), headers={"Content-Type": kind})
        assert answer.status_code == 200
    assert client.post("/v1/detect", content=encode(picture(1))).status_code == 200


def test_many_images_come_back_in_order_with_bad_ones_as_records(serve):
    client, _ = serve()
    files = [(f"{seed}.jpg", encode(picture(seed), "JPEG")) for seed in range(5)]
    files.insert(2, ("notes.txt", b"no image"))
    files.insert(4, ("cut.png", encode(picture(9))[:200]))
    answer = client.post("/v1/detect", files=[("file", file) for file in files])
    body = answer.json()
    assert (answer.status_code, body["heatmaps"]) == (200, None)
    assert [record["path"] for record in body["records"]] == [name for name, _ in files]
    assert [(e["index"], e["code"]) for e in body["errors"]] == [(2, 415), (4, 422)]


def test_concurrent_requests_share_batches_and_get_their_own_answers(serve, engine):
    client, _ = serve(batch_size=4)
    engine.gate = threading.Event()
    pictures = [encode(picture(seed)) for seed in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(post, client, data, name=str(i)) for i, data in enumerate(pictures)]
        wait_for(lambda: pending(client) == 12)
        engine.gate.set()
        bodies = [answer.result().json() for answer in answers]
    alone = Detector(engine, engine.manifest, ServedScoring())
    for i, (data, body) in enumerate(zip(pictures, bodies, strict=True)):
        assert body["records"][0]["path"] == str(i)
        assert abs(body["records"][0]["logit"] - alone.detect(data).logit) <= BATCH_LOGIT_TOLERANCE
    assert 4 in engine.sizes
    assert max(engine.sizes) <= 4


def pending(client) -> int:
    lines = client.get("/metrics").text.splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("cinemae_pending_images "))))


def test_a_full_queue_answers_429_and_recovers(serve, engine):
    """More images than it has room for take no slot."""
    client, _ = serve(limits=Limits(max_queue=3, max_images=3), batch_size=1)
    engine.gate = threading.Event()
    data = encode(picture(3))
    with ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(client.post, "/v1/detect", files=[("file", ("a.png", data))] * 2)]
        wait_for(lambda: pending(client) == 2)
        too_many = client.post("/v1/detect", files=[("file", ("a.png", data))] * 2)
        assert pending(client) == 2
        accepted.append(pool.submit(post, client, data))
        wait_for(lambda: pending(client) == 3)
        refused = post(client, data)
        engine.gate.set()
        assert [answer.result().status_code for answer in accepted] == [200, 200]
    for answer in (refused, too_many):
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
    wait_for(lambda: pending(client) == 0)
    assert post(client, data).status_code == 200


def test_the_memory_of_all_uploads_is_bounded(serve, engine):
    data = encode(picture(3))
    most = (len(data) + 10) / MIB
    client, _ = serve(limits=Limits(max_body_mb=most, max_file_mb=most, max_buffered_mb=most))
    engine.gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, client, data)
        wait_for(lambda: pending(client) == 1)
        second = post(client, data)
        engine.gate.set()
        assert (first.result().status_code, second.status_code) == (200, 429)
    assert post(client, data).status_code == 200


def test_a_slow_engine_ends_in_504_and_the_slots_come_back(serve, engine):
    client, _ = serve(limits=Limits(request_timeout=2.0))
    engine.gate = threading.Event()
    assert post(client, encode(picture(3))).status_code == 504
    engine.gate.set()
    wait_for(lambda: pending(client) == 0)
    assert post(client, encode(picture(3))).status_code == 200


def test_images_nobody_waits_for_are_not_inferred(serve, engine):
    client, _ = serve(batch_size=1)
    engine.gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, client, encode(picture(1)))
        wait_for(engine.entered.is_set)
        with pytest.raises(httpx.ReadTimeout):
            post(httpx.Client(base_url=client.base_url, timeout=httpx.Timeout(30, read=0.5)), encode(picture(2)))
        for _ in range(5):  # requests that came later: once answered, the event loop has seen the closed connection
            pending(client)
        before = len(engine.sizes)
        engine.gate.set()
        first.result()
    wait_for(lambda: pending(client) == 0)
    assert len(engine.sizes) == before + 1


def test_an_engine_that_fails_is_503_and_not_ready_until_it_works_again(serve, engine):
    client, _ = serve()
    assert client.get("/readyz").status_code == 200
    engine.fails = True
    answer = post(client, encode(picture(1)))
    assert answer.status_code == 503
    assert "device lost" not in answer.text
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    engine.fails = False
    assert post(client, encode(picture(1))).status_code == 200
    assert client.get("/readyz").status_code == 200


def test_stopping_answers_what_was_accepted(serve, engine):
    client, server = serve(batch_size=2)
    engine.gate = threading.Event()
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(post, client, encode(picture(seed))) for seed in range(6)]
        wait_for(lambda: pending(client) == 6)
        server.handle_exit(signal.SIGTERM, None)
        time.sleep(0.3)
        assert not engine.closed
        engine.gate.set()
        assert [answer.result().status_code for answer in answers] == [200] * 6
    wait_for(lambda: engine.closed)
    with pytest.raises((httpx.ConnectError, httpx.ReadError)):  # refused, or reset while the socket is being closed
        client.get("/healthz")


def test_metrics_count_requests_and_verdicts(serve):
    client, _ = serve()
    post(client, encode(picture(1)))
    post(client, b"junk")
    lines = client.get("/metrics").text.splitlines()
    for line in ('cinemae_requests_total{status="200"} 1.0', 'cinemae_requests_total{status="415"} 1.0',
                 'cinemae_images_total{verdict="error"} 1.0', "cinemae_batch_size_count 1.0", "cinemae_ready 1.0"):
        assert line in lines


def test_answers_are_sent_at_once(serve):
    """Without TCP_NODELAY the second packet of an answer waits for the client's delayed ACK, 40 ms a request."""
    client, server = serve()
    client.get("/healthz")
    (connection,) = server.server_state.connections
    sent_at_once = connection.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sent_at_once


def test_engine_description(serve, engine):
    client, _ = serve()
    body, manifest = client.get("/v1/engine").json(), json.loads(engine.manifest.to_json())
    assert body["run"] == json.loads(json.dumps(asdict(Detector(engine, engine.manifest, ServedScoring()).run)))
    assert body["words"]["real"] == "at most 10 % of the AI images of a source get this; any new source may exceed that"
    assert (body["heatmap_range"], len(body["colours"])) == ([0.0, 80.0], 256)
    assert body["spread"]["low"] < body["run"]["real_below"] < body["run"]["ai_from"] < body["spread"]["high"]
    assert body["grid"] ** 2 == engine.manifest.backbone.config.n_patches
    copied = {"demonstration", "precision", "backbone", "calibration", "training", "tools"}
    assert {name: body[name] for name in copied} == {name: manifest[name] for name in copied}
    assert body["limits"] == {
        "max_body_bytes": 64 * MIB, "max_file_bytes": 32 * MIB, "max_buffered_bytes": 512 * MIB, "max_images": 32,
        "max_queue": 128, "max_pixels": 50_000_000,
    }
