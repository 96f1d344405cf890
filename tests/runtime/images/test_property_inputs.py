"""Properties of any bytes, any image, any manifest: one record or one clear error, never anything else."""

import io
import json

import pytest
from cinemae.runtime.core.errors import EngineError, ManifestError
from cinemae.runtime.core.manifest import Manifest, Preprocess
from cinemae.runtime.engines.file.header import read_manifest, read_onnx
from cinemae.runtime.images.preprocess import load_image
from cinemae.runtime.scan.inputs import read_names
from cinemae.runtime.scoring.record import from_dict, to_json
from hypothesis import assume, given
from hypothesis import strategies as st
from pictures import encoded, picture
from PIL import Image

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


@given(data=st.one_of(damaged_files(), st.binary(max_size=200)))
def test_any_bytes_give_exactly_one_valid_record(detector, data):
    (record,) = detector.detect_many([data])
    values = json.loads(to_json(record))
    assert values["status"] in ("ok", "error")
    assert (values["verdict"] is None) == (values["status"] == "error") == (values["error"] is not None)
    assert values["error"] is None or values["error"]["kind"] != "unreadable"  # an exception that nobody foresaw
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


NAMES = st.binary(min_size=1, max_size=20).filter(lambda raw: not {0, 10, 13, 34} & set(raw))


@given(st.lists(NAMES, max_size=20), st.booleans())
def test_lists_of_names_survive(names, null):
    end = b"\0" if null else b"\n"
    assume(not null or not all(len(name) == 1 for name in names[:3]))  # UTF-16, if `.` is among them
    assume(not names or not names[0].startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")))
    found = list(read_names(io.BytesIO(end.join(names)), "list", null))
    assert [name.encode("utf-8", "surrogateescape") for name in found] == names
