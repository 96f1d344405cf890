"""`Detector`: every kind of source gives the same score, bad inputs become records, in batches and between threads."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import pytest
from cinemae.runtime import Detector, NamedSource
from cinemae.runtime.core.errors import EngineError, ImageError, UsageError
from cinemae.runtime.images.decode import MAX_PIXELS
from cinemae.runtime.images.formats import usable_formats
from cinemae.runtime.scoring import prepare
from cinemae.runtime.scoring.heatmap import figure, is_heatmap
from cinemae.runtime.scoring.options import ScoringOptions
from cinemae.runtime.scoring.pipeline import decode_and_score
from cinemae.runtime.scoring.prepare import Prepared
from cinemae.runtime.scoring.record import RECORD_FIELDS, from_dict, lcas_values, to_dict, to_json
from pictures import encoded, picture
from PIL import Image
from records import BROKEN, record
from steady_engine import SteadyEngine

BATCH_TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def detector(tiny_engine):
    with Detector.load(tiny_engine, device="cpu", threads=1) as found:
        yield found


def test_same_pixels_same_score_however_they_come(detector, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture()))
    records = [detector.detect(s) for s in (path, str(path), path.read_bytes(), picture(), np.asarray(picture()))]
    assert len({(r.logit, r.stats, r.verdict, r.width, r.height) for r in records}) == 1
    assert (records[0].status, records[0].path) == ("ok", str(path))
    assert records[0].sha256 == records[2].sha256 is not None
    assert records[0].lcas.shape == (16,)
    assert records[0].run == detector.run
    assert detector.run.engine.startswith("tiny-test@")


def test_bad_inputs_become_records(detector, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would block
    named = NamedSource("x", "y", ImageError("x: given up", "too_large"))
    kinds = {
        tmp_path / "gone.jpg": "missing", tmp_path: "unsupported", b"": "unsupported", named: "too_large",
        tmp_path / "pipe.jpg": "unsupported", encoded(picture(), "JPEG")[:500]: "damaged", 3: "unsupported",
    }
    for source, kind in kinds.items():
        found = detector.detect(source)
        assert (found.status, found.verdict, found.logit, found.width) == ("error", None, None, None)
        assert found.error.kind == kind
    assert detector.detect(named).error.text == "given up"
    for source in (None, [1]):
        assert "is no image: give a path, bytes" in detector.detect(source).error.text


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
    assert [record.path for record in records] == ["<3 bytes>" if i % 7 == 3 else f"p{i}" for i in range(40)]
    assert [record.status for record in records] == ["error" if i % 7 == 3 else "ok" for i in range(40)]


def test_a_folder_is_its_images_and_one_image_is_not_many(detector, tmp_path):
    (tmp_path / "below").mkdir()
    picture().save(tmp_path / "below" / "b.png")
    (tmp_path / "a.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("no image")
    for folder in (tmp_path, str(tmp_path)):
        for found in (detector.detect_many(folder), detector.detect_folder(folder)):
            records = {os.path.relpath(record.path, tmp_path): record.status for record in found}
            assert records == {"a.png": "error", "below/b.png": "ok"}
    for one in (str(tmp_path / "a.png"), tmp_path / "a.png", b"GIF89a", picture(), np.zeros((8, 8, 3), np.uint8)):
        with pytest.raises(TypeError, match=r"detect\(source\) scores one image"):
            detector.detect_many(one)
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        detector.detect_folder("nowhere")
    stack = np.stack([np.asarray(picture(seed=i)) for i in range(2)])
    assert [record.status for record in detector.detect_many(stack)] == ["ok", "ok"]


@pytest.mark.parametrize("kind", [kind for kind in usable_formats() if kind in Image.SAVE])
def test_an_error_is_one_line_whatever_a_library_says(detector, kind):
    """libheif ends its messages with a line feed."""
    data = encoded(picture(), kind)
    for size in range(8, len(data), len(data) // 8):
        record = detector.detect(data[:size])
        assert record.status == "ok" or record.error.text.isprintable()


def test_a_record_draws_its_heatmap_from_its_image(detector, tmp_path):
    picture(seed=1).save(tmp_path / "a.png")
    record = next(detector.detect_many([tmp_path / "a.png"]))
    pixels = detector.prepare(tmp_path / "a.png").image.pixels
    expected = np.asarray(figure(pixels, record.lcas, detector.manifest.heatmap_range))
    assert (np.asarray(record.heatmap()) == expected).all()
    record.save_heatmap(tmp_path / "a.lcas.png")
    assert is_heatmap(tmp_path / "a.lcas.png")
    of_array = detector.detect(np.asarray(picture(seed=1)))
    assert (np.asarray(of_array.heatmap(np.asarray(picture(seed=1)))) == expected).all()
    with pytest.raises(UsageError, match=r"no heatmap: no such file.*; give the image, heatmap\(source\)"):
        of_array.heatmap()
    picture(seed=2).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="this is another image than the one that was scored"):
        record.heatmap()
    for without, why in ((from_dict(record.to_dict()), "holds no anomaly map"), (detector.detect(b""), "empty")):
        with pytest.raises(UsageError, match=why):
            without.heatmap()


def test_detectors_and_records_show_what_they_are(detector, tmp_path):
    picture().save(tmp_path / "a.png")
    assert re.fullmatch(r"<Record .*a\.png: \w+, P\(AI\) \d+\.\d%>", repr(detector.detect(tmp_path / "a.png")))
    assert re.fullmatch(r"\[<Record <2 bytes>: [^>]+>\]", repr([detector.detect(b"no")]))
    assert re.fullmatch(r"<Detector tiny-test@\w+: .+>", repr(detector))


def test_batches_agree_with_singles(detector):
    images = [picture(seed=i) for i in range(11)]
    singles = [detector.detect(image).logit for image in images]
    for size in (1, 3, 8, 64):
        found = [record.logit for record in detector.detect_many(images, batch_size=size)]
        np.testing.assert_allclose(found, singles, atol=BATCH_TOLERANCE)
    assert list(detector.detect_many([])) == detector.score([]) == []


def test_worker_exception_is_that_records_error(detector, monkeypatch):
    real = prepare.image_reasons

    def sometimes(image, manifest, visible):
        if image.width == 31:
            raise RuntimeError("boom")
        return real(image, manifest, visible)

    monkeypatch.setattr(prepare, "image_reasons", sometimes)
    records = list(detector.detect_many([picture(), picture(31), picture()]))
    assert [record.status for record in records] == ["ok", "error", "ok"]
    assert (records[1].error.kind, "boom" in records[1].error.text) == ("unreadable", True)


@pytest.mark.parametrize(
    "options",
    [
        {"engine": ""}, {"device": "abacus"}, {"threads": 0}, {"max_pixels": 0}, {"decode": "half"}, {"frames": 0},
        {"frames": 101}, {"frames": "some"}, {"frames": "²"},
        *({name: value} for name in ("threshold", "prior") for value in (0, 1, -3, 2.0, float("nan"))),
    ],
)
def test_options_are_checked_before_the_engine_is_read(options, tmp_path):
    with pytest.raises(UsageError):
        Detector.load(**{"engine": tmp_path / "missing.onnx", "background": True, **options})


def test_options_come_as_one_object_or_one_by_one(tiny_engine, detector):
    assert detector.options == ScoringOptions(engine=tiny_engine, device="cpu", threads=1)
    with Detector.load(ScoringOptions(engine=tiny_engine, prior=0.2, max_pixels=5)) as other:
        assert (other.run.prior, other.detect(picture()).error.kind) == (0.2, "too_large")
    with pytest.raises(UsageError):
        Detector.load(ScoringOptions(engine=tiny_engine), prior=0.2)
    with pytest.raises(UsageError, match=r"Detector\.load\(\)"):
        Detector()
    for sizes in ({"batch_size": 0}, {"workers": 0}):
        with pytest.raises(UsageError):
            list(detector.detect_many([], **sizes))
    assert f"Default: {MAX_PIXELS:,}." in ScoringOptions.__doc__


def test_batch_that_does_not_fit_is_scored_one_by_one(tiny_manifest):
    engine = SteadyEngine(tiny_manifest, largest=1)
    records = list(Detector(engine, tiny_manifest).detect_many([picture()] * 3, batch_size=3))
    assert [record.status for record in records] == ["ok"] * 3
    assert engine.batches == [3, 1, 1, 1]
    with pytest.raises(EngineError, match="out of memory"):
        list(Detector(SteadyEngine(tiny_manifest, largest=0), tiny_manifest).detect_many([picture()] * 3))


def test_scores_that_are_not_finite_are_errors(tiny_manifest):
    record = Detector(SteadyEngine(tiny_manifest, logit=np.nan), tiny_manifest).detect(picture())
    assert (record.status, record.error.kind, record.width) == ("error", "engine", 96)
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
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: tuple(detector.detect(image).logit for image in images), range(4))) == {
            tuple(expected)
        }


def test_pipeline_hands_on_sources_and_pixels(detector):
    (scored,) = decode_and_score([NamedSource("n", picture())], detector.prepare, detector.begin, batch_size=2)
    assert scored.source.name == "n"
    assert scored.prepared.image.pixels.shape == (64, 64, 3)
    old = record("old", "real", logit=1.0)
    assert detector.score([Prepared("old", previous=old)]) == [old]


def test_reasons_of_images(detector):
    def codes(image):
        (reasons,) = detector.prepare(image).reasons
        return [reason.code for reason in reasons]

    assert codes(picture()) == []
    assert codes(picture(70, 70)) == ["small"]
    assert "tiny" in codes(picture(20, 70))
    assert codes(picture(400, 80)) == ["crop"]
    assert "only 16 % of the image" in detector.prepare(picture(400, 80)).reasons[0][0].text
    assert codes(picture().convert("L")) == ["grey"]
    assert "flat" in codes(Image.new("RGB", (96, 96), (200, 10, 10)))


def test_record_survives_json(detector):
    found = detector.detect(picture(400, 80))
    values = to_dict(found)
    assert list(values) == list(RECORD_FIELDS) == [
        "path", "status", "error", "verdict", "probability", "likelihood_ratio", "logit", "stats", "reasons",
        "evidence", "width", "height", "sha256", "scored_area", "frames", "tiles", "run", "schema",
    ]
    assert list(values["run"]) == [
        "engine", "precision", "prior", "threshold", "ai_from", "real_below", "false_alarm", "miss",
        "false_alarm_gamma", "miss_gamma", "withheld", "decode", "max_frames", "tiled", "cinemae",
    ]
    assert values["reasons"][0] == {"code": "crop", "text": found.reasons[0].text}
    assert from_dict(values) == found
    failed = detector.detect(b"x")
    assert from_dict(to_dict(failed)) == failed
    assert [item.name for item in fields(failed.error)] == ["kind", "text"]
    with pytest.raises(KeyError):
        from_dict({name: value for name, value in values.items() if name != "run"})
    with pytest.raises(ValueError, match="schema"):
        from_dict({**values, "schema": 2})
    assert lcas_values(record("x", lcas=np.array([1.5, np.nan], np.float32))) == [1.5, None]
    assert lcas_values(record("x", error=BROKEN)) is None


def test_the_run_says_how_it_decodes_and_the_engine_keeps_its_name(tiny_engine, detector):
    with Detector.load(tiny_engine, decode="scaled", tiles=True, frames="first", prior=0.1) as other:
        run = other.detect(picture()).run
    assert (run.decode, run.tiled, run.max_frames, run.prior) == ("scaled", True, 1, 0.1)
    assert (run.engine, other.manifest.preprocess.decode) == (detector.run.engine, "scaled")
    assert (detector.run.decode, detector.run.tiled, detector.run.max_frames) == ("full", False, 4)
