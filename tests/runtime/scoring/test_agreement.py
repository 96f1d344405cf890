"""A local run and the server agree on the same files as the architecture promises: paths, status, order, scores."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cinemae.runtime.scan.scan import scan
from cinemae.runtime.scoring.detector import Detector
from PIL import Image
from scans import scan_options
from serve_tools import encode, picture, serving

pytest.importorskip("fastapi", reason="needs the serve extra")
httpx = pytest.importorskip("httpx")

BATCH_LOGIT_TOLERANCE = 1e-4
"""The server batches by arrival, the local run by position; logits of the tiny engine are of order 1."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Formats, modes and damage as they occur: 24 files."""
    folder = tmp_path_factory.mktemp("files")
    for seed in range(12):
        (folder / f"{seed:02d}.jpg").write_bytes(encode(picture(seed, 150, 100), "JPEG"))
    base = Image.fromarray(picture(50, 120, 90))
    for mode in ("L", "RGBA", "P", "CMYK", "1"):
        base.convert(mode).save(folder / f"mode_{mode}.{'tif' if mode == 'CMYK' else 'png'}")
    Image.fromarray(np.arange(6000, dtype=np.uint16).reshape(60, 100) * 10).save(folder / "deep.png")
    base.save(folder / "web.webp", quality=80)
    base.resize((700, 30)).save(folder / "wide.png")
    base.resize((9, 9)).save(folder / "tiny.bmp")
    exif = Image.Exif()
    exif[0x0112] = 6
    base.save(folder / "turned.jpg", exif=exif)
    (folder / "cut.jpg").write_bytes(encode(picture(3), "JPEG")[:500])
    (folder / "text.png").write_text("no image")
    return sorted(folder.iterdir())


def test_many_requests_and_one_agree_with_a_local_run(files, tiny_engine, tmp_path):
    out = tmp_path / "records.jsonl"
    scan(scan_options(*files, engine=tiny_engine, out=out, quiet=True))
    local = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [record["status"] for record in local].count("error") == 2
    detector = Detector.load(tiny_engine, device="cpu", threads=1)
    with serving(detector) as (base, _), httpx.Client(base_url=base, timeout=60) as client:

        def one(path):
            answer = client.post("/v1/detect", params={"name": str(path)}, content=path.read_bytes())
            return answer.json()["records"][0]

        with ThreadPoolExecutor(8) as pool:
            many = list(pool.map(one, files))
        together = client.post("/v1/detect", files=[("file", (str(path), path.read_bytes())) for path in files]).json()
        answers = {client.post("/v1/detect", content=files[0].read_bytes()).content for _ in range(3)}
    assert len(answers) == 1
    for found in (many, together["records"]):
        for ours, theirs in zip(found, local, strict=True):
            for name in ("path", "status", "verdict", "error", "reasons", "width", "height", "sha256", "run", "schema"):
                assert ours[name] == theirs[name]
            if theirs["status"] == "ok":
                assert abs(ours["logit"] - theirs["logit"]) <= BATCH_LOGIT_TOLERANCE
