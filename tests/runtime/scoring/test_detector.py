"""`Detector`: every kind of source gives the same score, bad inputs become records, in batches and between threads."""

import threading

import numpy as np
import pytest
from cinemae.runtime import Detector, NamedSource, Record
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.errors import EngineError, UsageError
from cinemae.runtime.scoring import reasons as r
from cinemae.runtime.scoring.pipeline import decode_and_score
from cinemae.runtime.scoring.prepare import Prepared
from cinemae.runtime.scoring.record import ADDED_FIELDS, RECORD_FIELDS, from_dict, lcas_values, to_dict, to_json
from cinemae.runtime.scoring.verdict import Decision
from pictures import encoded, picture
from PIL import Image
from steady_engine import SteadyEngine

BATCH_TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def detector(tiny_engine):
    with Detector.load(tiny_engine, "cpu", threads=1) as found:
        yield found


def test_same_pixels_same_score_however_they_come(detector, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture()))
    records = [detector.detect(s) for s in (path, str(path), path.read_bytes(), picture(), np.asarray(picture()))]
    assert len({(r.logit, r.stats, r.verdict, r.width, r.height) for r in records}) == 1
    assert records[0].status == "ok"
    assert records[0].path == str(path)
    assert records[0].sha256 == records[2].sha256 is not None
    assert records[0].lcas.shape == (16,)
    assert records[0].engine.startswith("tiny-test@")


def test_bad_inputs_become_records(detector, tmp_path):
    bad = {tmp_path / "gone.jpg": "no such file", tmp_path: "is a folder", b"": "not a readable image"}
    for source, error in bad.items():
        record = detector.detect(source)
        assert (record.status, record.verdict, record.logit, record.width) == ("error", None, None, None)
        assert error in record.error
    assert detector.detect(NamedSource("x", "y", "given up")).error == "given up"


def test_pipe_does_not_block(detector, tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in detector.detect(tmp_path / "pipe.jpg").error


def test_detect_many_is_lazy_and_keeps_order(detector):
    taken = []

    def sources():
        for i in range(10_000):
            taken.append(i)
            yield b"bad" if i % 7 == 3 else NamedSource(f"p{i}", picture(seed=i % 5))

    stream = detector.detect_many(sources(), batch_size=4, workers=2)
    records = [next(stream) for _ in range(40)]
    stream.close()
    assert len(taken) < 100
    for i, record in enumerate(records):
        assert record.status == ("error" if i % 7 == 3 else "ok")
        if record.status == "ok":
            assert record.path == f"p{i}"


def test_batches_agree_with_singles(detector):
    images = [picture(seed=i) for i in range(11)]
    singles = [detector.detect(image).logit for image in images]
    for size in (1, 3, 8, 64):
        found = [record.logit for record in detector.detect_many(images, batch_size=size)]
        np.testing.assert_allclose(found, singles, atol=BATCH_TOLERANCE)


def test_no_records_without_inputs(detector):
    assert list(detector.detect_many([])) == []
    assert detector.score([]) == []


def test_worker_exception_is_that_records_error(detector, monkeypatch):
    real = r.image_reasons

    def sometimes(image, manifest, visible):
        if image.width == 31:
            raise RuntimeError("boom")
        return real(image, manifest, visible)

    monkeypatch.setattr("cinemae.runtime.scoring.prepare.image_reasons", sometimes)
    records = list(detector.detect_many([picture(), picture(31), picture()]))
    assert [record.status for record in records] == ["ok", "error", "ok"]
    assert "boom" in records[1].error


def test_usage(detector):
    for options in ({"batch_size": 0}, {"workers": 0}):
        with pytest.raises(UsageError):
            list(detector.detect_many([], **options))
    for threshold in (0, 1, -3, 2.0, float("nan")):
        with pytest.raises(UsageError, match="probability"):
            Decision.of(Calibration(), threshold)


def test_batch_that_does_not_fit_is_scored_one_by_one(tiny_manifest):
    engine = SteadyEngine(tiny_manifest, largest=1)
    records = list(Detector(engine, tiny_manifest).detect_many([picture()] * 3, batch_size=3))
    assert [record.status for record in records] == ["ok"] * 3
    assert engine.batches == [3, 1, 1, 1]


def test_engine_that_never_works_ends_the_run(tiny_manifest):
    detector = Detector(SteadyEngine(tiny_manifest, largest=0), tiny_manifest)
    with pytest.raises(EngineError, match="out of memory"):
        list(detector.detect_many([picture()] * 3))


def test_scores_that_are_not_finite_are_errors(tiny_manifest):
    record = Detector(SteadyEngine(tiny_manifest, logit=np.nan), tiny_manifest).detect(picture())
    assert record.status == "error"
    assert "not finite" in record.error
    assert "NaN" not in to_json(record)


def test_closing_and_background_loading(tiny_engine, tmp_path):
    with Detector.load(tiny_engine, background=True) as detector:
        assert detector.detect(picture()).status == "ok"
    detector.close()
    with pytest.raises(EngineError, match="closed"):
        detector.detect(picture())
    broken = tmp_path / "broken.onnx"
    data = bytearray(tiny_engine.read_bytes())
    data[len(data) // 3] ^= 1
    broken.write_bytes(data)
    with Detector.load(broken, background=True) as detector, pytest.raises(EngineError):
        detector.detect(b"even for a bad image")


def test_shared_between_threads(detector):
    images = [picture(seed=i) for i in range(6)]
    expected = [detector.detect(image).logit for image in images]
    found = {}

    def work(number):
        found[number] = [detector.detect(image).logit for image in images]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[i] == expected for i in range(4))


def test_pipeline_hands_on_sources_and_pixels(detector):
    (scored,) = decode_and_score([NamedSource("n", picture())], detector.prepare, detector.begin, batch_size=2)
    assert scored.source.name == "n"
    assert scored.prepared.image.pixels.shape == (64, 64, 3)


def test_reasons_of_images(detector):
    def reasons(image):
        return detector.prepare(image).reasons

    assert reasons(picture()) == ()
    assert reasons(picture(70, 70)) == (r.UPSCALED,)
    assert r.TINY in reasons(picture(20, 70))
    assert r.CROPPED.format(100 * (64 / 72) ** 2 * 80 / 400) in reasons(picture(400, 80))
    assert any("only 16 % of the image" in reason for reason in reasons(picture(400, 80)))
    assert reasons(picture().convert("L")) == (r.GRAYSCALE,)
    assert r.LOW_CONTEXT in reasons(Image.new("RGB", (96, 96), (200, 10, 10)))


def test_record_survives_json(detector):
    record = detector.detect(picture())
    values = to_dict(record)
    assert list(values) == list(RECORD_FIELDS)
    assert list(values) == [
        "path", "status", "error", "verdict", "probability", "logit", "stats", "reasons", "width", "height", "sha256",
        "engine", "prior", "ai_from", "real_below", "false_alarm", "miss", "cinemae", "evidence", "frames",
        "scored_area", "tiles", "schema",
    ]
    assert from_dict(values) == record
    older = from_dict({name: value for name, value in values.items() if name not in ADDED_FIELDS})
    assert (older.logit, older.prior, older.ai_from, older.cinemae) == (record.logit, 0.5, None, "")
    with pytest.raises(KeyError):
        from_dict({name: value for name, value in values.items() if name != "engine"})
    with pytest.raises(ValueError, match="schema"):
        from_dict({**values, "schema": 2})
    holes = Record("x", "ok", lcas=np.array([1.5, np.nan], np.float32))
    assert lcas_values(holes) == [1.5, None]
    assert lcas_values(Record("x", "error")) is None


def test_demonstration_is_named_in_every_record(tiny_manifest):
    manifest = tiny_manifest.model_copy(update={"demonstration": True})
    detector = Detector(SteadyEngine(manifest), manifest)
    assert detector.detect(picture()).engine.endswith("(demonstration)")
    assert detector.detect(b"").engine.endswith("(demonstration)")


def test_previous_records_pass_through(detector):
    previous = Record("old", "ok", logit=1.0)
    assert detector.score([Prepared("old", previous=previous)]) == [previous]
