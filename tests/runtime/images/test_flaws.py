"""Files that are damaged beside their pixels are scored and say so; a picture of which a part is missing is refused."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from cinemae.runtime.core.errors import ImageError
from cinemae.runtime.core.manifest import Preprocess
from cinemae.runtime.images import flaws
from cinemae.runtime.images.decode import decode
from cinemae.runtime.images.flaws import without_bad_chunks
from cinemae.runtime.images.preprocess import load_image
from moving_pictures import animation, frames_of
from pictures import encoded, picture
from PIL import Image

FORMS = {
    "baseline": {}, "progressive": {"progressive": True}, "444": {"quality": 97, "subsampling": 0},
    "restarts": {"restart_marker_blocks": 3}, "optimized": {"optimize": True},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
}
FLAT = Image.new("RGB", (150, 133), (120, 90, 40))
FLAT.paste(picture(150, 60), (0, 0))
PICTURES = {"odd size": picture(150, 133), "flat below": FLAT, "grey": picture(96, 80).convert("L"),
            "CMYK": picture(90, 70).convert("CMYK")}


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def form(request):
    return request.param


@pytest.fixture(params=PICTURES.values(), ids=PICTURES)
def jpeg(request, form):
    return encoded(request.param, "JPEG", **form)


def outcome(data):
    """Pixels, or None where the file is refused."""
    try:
        return np.asarray(decode(data))
    except ImageError:
        return None


def codes(record):
    return [reason.code for reason in record.reasons]


@pytest.mark.parametrize("tail", [b"", b"\xff", b"\0" * 700, b"\xff" + b"\0" * 700])
def test_a_jpeg_that_lacks_its_end_mark_alone(jpeg, tail):
    assert np.array_equal(outcome(jpeg[:-2] + tail), decode(jpeg))


def test_a_jpeg_that_lacks_a_part_of_its_picture_is_refused(jpeg):
    whole, end = np.asarray(decode(jpeg)), len(jpeg) - 2
    first = jpeg.rindex(b"\xff\xda") + 14
    for cut in {*range(end - 8, end), *(end - (end - first) * i // 12 for i in range(1, 12))}:
        found = outcome(jpeg[:cut])
        # what is missing may have held nothing but blocks beyond the margin, or a scan that could change nothing
        assert found is None or np.array_equal(found, whole), cut


def test_a_jpeg_that_ends_between_scans_or_intervals_is_refused(form):
    data = encoded(picture(150, 133), "JPEG", **form)
    bounds = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7\xda]", data)]
    refused = 0
    assert len(bounds) > 5 or form.keys() <= {"quality", "subsampling", "optimize"}
    for cut in bounds:
        found = outcome(data[:cut])
        assert found is None or np.array_equal(found, decode(data)), cut
        refused += found is None
    assert refused > 0.9 * len(bounds)


def test_scaled_decoding_of_a_jpeg_without_its_end_mark():
    data, scaled = encoded(picture(1300, 1100), "JPEG"), Preprocess(decode="scaled")
    found, expected = (load_image(one, scaled) for one in (data[:-2], data))
    assert np.array_equal(found.pixels, expected.pixels)
    with pytest.raises(ImageError, match="truncated"):
        load_image(data[:-200], scaled)


def test_the_record_says_so(detector):
    data = encoded(picture(), "JPEG")
    whole, flawed = detector.detect(data), detector.detect(data[:-2])
    assert (flawed.logit, codes(flawed)) == (whole.logit, [*codes(whole)[:-1], "end", codes(whole)[-1]])
    assert flawed.sha256 != whole.sha256
    assert "all of its pixels are there" in {reason.code: reason.text for reason in flawed.reasons}["end"]


def chunk(kind, content, checksum=None):
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def chunks_of(data):
    at = 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at:end]
        at = end


def with_chunk(data, behind, *new):
    parts = [part + b"".join(new if kind == behind else ()) for kind, part in chunks_of(data)]
    return data[:8] + b"".join(parts)


@pytest.mark.parametrize("behind", [b"IHDR", b"IDAT"])
@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt", b"zTXt", b"iCCP", b"tIME", b"pHYs", b"eXIf", b"tRNS", b"acTL"])
def test_a_png_with_a_wrong_checksum_beside_its_pixels(detector, behind, kind):
    data = encoded(picture())
    broken = with_chunk(data, behind, chunk(kind, b"Software\0DALL-E 3", 7))
    whole, flawed = detector.detect(data), detector.detect(broken)
    assert (flawed.logit, "checksum" in codes(flawed), flawed.frames) == (whole.logit, True, None)
    assert "checksum" not in codes(whole)
    assert [fact for fact in flawed.evidence if "DALL" in fact.statement] == []


def test_a_png_with_a_wrong_checksum_of_its_pixels_is_refused():
    data = bytearray(encoded(picture()))
    data[data.index(b"IHDR") + 18] ^= 1
    bad_text = chunk(b"tEXt", b"a\0b", 1)
    for broken in (bytes(data), with_chunk(bytes(data), b"IHDR", bad_text),
                   with_chunk(encoded(picture()), b"IHDR", bad_text)[:-400]):
        assert outcome(broken) is None if b"IEND" not in broken else True
        with pytest.raises(ImageError):
            decode(broken)


def test_an_animation_with_a_wrong_checksum(detector):
    data = animation("PNG", frames_of(4))
    record = detector.detect(with_chunk(data, b"IHDR", chunk(b"tEXt", b"a\0b", 1)))
    assert ("checksum" in codes(record), [frame.index for frame in record.frames.scored]) == (True, [0, 1, 2, 3])


def test_chunks_without_end_are_not_counted_for_ever(monkeypatch):
    monkeypatch.setattr(flaws, "MAX_CHUNKS", 100)
    many = with_chunk(encoded(picture()), b"IHDR", *[chunk(b"tEXt", b"")] * 99, chunk(b"tEXt", b"", 1))
    assert without_bad_chunks(io.BytesIO(many)) is None
    for kind in ("JPEG", "PNG", "GIF"):
        data = encoded(picture(), kind)
        for cut in range(0, len(data), 37):
            file = io.BytesIO(data[:cut])
            assert (without_bad_chunks(file), file.tell()) == (None, 0)
