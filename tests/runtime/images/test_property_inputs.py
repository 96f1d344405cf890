"""Properties of any bytes, any image, any manifest: one record or one clear error, never anything else."""

import io
import json
import math

import numpy as np
import pytest
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.errors import EngineError, ImageError, ManifestError, UsageError
from cinemae.runtime.core.manifest import Manifest, Preprocess
from cinemae.runtime.core.text import display_name
from cinemae.runtime.engines.file.header import read_manifest, read_onnx
from cinemae.runtime.images.preprocess import load_image
from cinemae.runtime.scan.inputs import read_names
from cinemae.runtime.scoring.record import Reason, Record, Stats, from_dict, to_json
from cinemae.runtime.scoring.verdict import Decision
from hypothesis import given
from hypothesis import strategies as st
from pictures import encoded, picture
from PIL import Image
from records import RUN

SMALL = Preprocess(resize_short=72, crop=64)
KINDS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")
FILES = [encoded(picture(40, 30, seed), kind) for seed, kind in enumerate(KINDS)]


def result_or_message(kind, function, *arguments):
    """(result, "") or, for an error of `kind`, (None, message); any other exception fails the test."""
    try:
        return function(*arguments), ""
    except kind as error:
        return None, str(error)


@st.composite
def damaged_files(draw):
    """A valid file with a few bytes changed, cut off, doubled or dropped."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["set", "cut", "drop", "double"])):
            case "set":
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[max(at, 1) :]
            case "drop":
                del data[at : at + draw(st.integers(1, 8))]
            case "double":
                data[at:at] = data[at : at + 64]
        if not data:
            break
    return bytes(data)


@given(st.one_of(damaged_files(), st.binary(max_size=200)))
def test_any_bytes_give_pixels_or_one_image_error(data):
    loaded, message = result_or_message(ImageError, load_image, data, SMALL, 4_000_000)
    if loaded is None:
        assert message.startswith(f"<{len(data)} bytes>: ")
    else:
        assert loaded.pixels.shape == (64, 64, 3)
        assert loaded.pixels.dtype == np.uint8
        assert loaded.width >= 1 <= loaded.height


@given(data=st.one_of(damaged_files(), st.binary(max_size=200)))
def test_any_bytes_give_exactly_one_valid_record(detector, data):
    (record,) = detector.detect_many([data])
    values = json.loads(to_json(record))
    assert values["status"] in ("ok", "error")
    assert (values["verdict"] is None) == (values["status"] == "error") == (values["error"] is not None)
    assert from_dict(values) == record


@given(
    width=st.integers(1, 400), height=st.integers(1, 400),
    mode=st.sampled_from(["RGB", "L", "RGBA", "P", "1", "CMYK", "LA"]),
    colour=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_any_size_and_mode_keeps_a_flat_colour(width, height, mode, colour):
    image = Image.new("RGB", (width, height), colour)
    loaded = load_image(image.convert(mode), SMALL)
    assert (loaded.width, loaded.height) == (width, height)
    if mode in ("RGB", "RGBA"):
        assert (loaded.pixels == colour).all()
    if mode in ("L", "LA", "1"):
        assert loaded.grayscale


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_array_and_lossless_file_agree(width, height, seed):
    array = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found, expected = (load_image(source, SMALL).pixels for source in (encoded(Image.fromarray(array)), array))
    assert np.array_equal(found, expected)


@given(st.binary(max_size=300))
def test_any_bytes_as_an_engine_are_one_engine_error(tmp_path, data):
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    header, message = result_or_message(EngineError, read_onnx, path)
    assert header is not None or message.startswith(f"{path}: ")
    manifest, message = result_or_message(EngineError, read_manifest, path)
    assert manifest is None
    assert message.startswith(f"{path}: ")


@given(data=st.data())
def test_any_change_to_a_manifest_is_valid_or_one_manifest_error(tiny_manifest, data):
    values = json.loads(tiny_manifest.to_json())

    def places(value, path=()):
        yield path
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, child in children:
            yield from places(child, (*path, key))

    path = data.draw(st.sampled_from([place for place in places(values) if place]))
    odd = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=3),
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    )
    target = values
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = data.draw(odd)
    text = json.dumps(values)
    found, message = result_or_message(ManifestError, Manifest.from_json, text, "x.onnx")
    if found is None:
        assert message.startswith("x.onnx: ")
        assert "\n" not in message
    else:
        assert Manifest.from_json(found.to_json(), "again") == found


@given(st.one_of(st.text(max_size=100), st.binary(max_size=100)))
def test_any_text_as_a_manifest_is_one_manifest_error(text):
    with pytest.raises(ManifestError):
        Manifest.from_json(text, "x.onnx")


@given(st.binary(max_size=60))
def test_any_file_name_becomes_valid_unicode(raw):
    name = raw.decode("utf-8", "surrogateescape")
    shown = display_name(name)
    shown.encode("utf-8")
    try:
        assert raw.decode("utf-8") == shown
    except UnicodeDecodeError:
        assert "\\x" in shown


NAMES = st.binary(min_size=1, max_size=20).filter(lambda raw: not {0, 10, 13} & set(raw))


@given(st.lists(NAMES, max_size=20), st.booleans())
def test_lists_of_names_survive(names, null):
    end = b"\0" if null else b"\n"
    names = [name.removeprefix(b"\xef\xbb\xbf") or b"x" for name in names]
    found = list(read_names(io.BytesIO(end.join(names)), "list", null))
    assert [name.encode("utf-8", "surrogateescape") for name in found] == names


FLOATS = st.floats(-1e3, 1e3)


@given(FLOATS, FLOATS, FLOATS)
def test_verdicts_are_consistent(logit, x, y):
    low, high = sorted((x, y))
    verdict = Decision(ai_from=high, real_below=low).verdict(logit)
    assert (verdict == "ai") == (logit >= high)
    assert (verdict == "real") == (logit < low)
    assert (verdict == "uncertain") == (low <= logit < high)


@given(st.text(max_size=20), FLOATS, st.lists(st.text(max_size=10), max_size=3))
def test_any_record_survives_json(path, logit, reasons):
    path = display_name(path.encode("utf-8", "replace").decode("utf-8"))
    record = Record(path=path, status="ok", verdict="ai", probability=0.5, logit=logit, stats=Stats(1.0, 2.0, 3.0),
                    reasons=tuple(Reason("code", text) for text in reasons), width=1, height=2, run=RUN)
    line = to_json(record)
    assert "\n" not in line
    assert from_dict(json.loads(line)) == record


@given(st.floats())
def test_threshold_is_a_probability(threshold):
    if 0 < threshold < 1:
        assert math.isfinite(Decision.of(Calibration(), threshold).ai_from)
    else:
        with pytest.raises(UsageError):
            Decision.of(Calibration(), threshold)
