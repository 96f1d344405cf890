"""Hostile metadata: huge, nested, malformed; no exception leaves `collect`, and it stays quick."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from cinemae.runtime.evidence.content_credentials import MAX_STORE
from cinemae.runtime.evidence.metadata import MAX_IPTC_FIELDS, read_iptc
from cinemae.runtime.evidence.xmp import MAX_DEPTH, read_xmp
from facts_of import timed_facts_of
from hypothesis import given
from hypothesis import strategies as st
from metadata_files import IMAGE, chunk, encoded, exif_of, iptc_of, segments, xmp_of
from PIL import Image
from signed_images import signed

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
SPACE = 'xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
SECONDS = 2.0
"""Far above what any of these takes, so that a loaded machine does not fail the test."""
XMP, EXTENSION = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"


def png(*chunks: bytes) -> bytes:
    data = encoded("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def quick(data: bytes) -> tuple:
    found, seconds = timed_facts_of(data)
    assert seconds < SECONDS
    assert all(len(fact.statement) < 2000 and fact.statement.isprintable() for fact in found)
    assert all(len(fact.raw or "") <= 2000 for fact in found)
    return found


def test_bomb_in_compressed_text():
    bomb = zlib.compress(bytes(1 << 25))
    quick(png(*[chunk(b"zTXt", b"parameters\0\0" + bomb)] * 20))
    quick(png(*[chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb[:1000])] * 5000))


def test_huge_and_many_texts():
    found = quick(png(chunk(b"tEXt", b"parameters\0" + b"Steps: 1, Sampler: x, " * 400_000),
                      *[chunk(b"tEXt", b"k%d\0x" % index) for index in range(30_000)]))
    assert [fact.value for fact in found] == ["Stable Diffusion WebUI"]


def test_text_cannot_forge_a_line_or_colour():
    (fact,) = quick(png(chunk(b"tEXt", b"parameters\0\x1b[31mSteps: 1\n, Sampler: \x07x")))
    assert "\x1b" not in fact.statement + fact.raw
    assert "\n" not in fact.statement


@pytest.mark.parametrize("text", [
    b"Steps: 1", b'"nodes" "class_type', b"AI-", b'{"c":"', b"Signature: " + b"A" * 60, b"&quot;AIGC",
    b'AIGC{"Label":"',
])
def test_texts_that_patterns_could_search_for_long(text):
    quick(png(*[chunk(b"tEXt", name + b"\0" + text * 40_000) for name in (b"a", b"Comment", b"Software", b"AIGC")]))


@pytest.mark.parametrize("document", [
    f'<!DOCTYPE a [<!ENTITY e "trainedAlgorithmicMedia">]><a {SPACE} i:DigitalSourceType="&e;"/>',
    '<!DOCTYPE a [<!ENTITY a0 "aaaaaaaaaa">' + "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(8))
    + f']><a {SPACE}><i:DigitalSourceType>&a8;</i:DigitalSourceType></a>',
    f'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd"><a {SPACE} i:DigitalSourceType="digitalCapture"/>',
    '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    f"<a {SPACE}><i:DigitalSourceType>&f;</i:DigitalSourceType></a>",
])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32"])
def test_documents_with_a_type_are_refused(document, encoding):
    assert read_xmp(document.encode(encoding)) == []


def test_nested_xmp_stops():
    inside = f'<b {SPACE} i:DigitalSourceType="digitalCapture"/>'
    assert read_xmp(("<a>" * MAX_DEPTH + inside + "</a>" * MAX_DEPTH).encode()) == []
    assert read_xmp(f"<a>{inside}</a>".encode()) == [("Iptc4xmpExt:DigitalSourceType", "digitalCapture")]
    quick(png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<a>" * 300_000)))


def test_many_elements_and_attributes_stop():
    attributes = " ".join(f'a{n}="{n}"' for n in range(50_000))
    quick(png(chunk(b"iTXt", f"XML:com.adobe.xmp\0\0\0\0\0<a {attributes}></a>".encode())))
    quick(png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<a>" + b"<b/>" * 200_000 + b"</a>")))


def test_many_packets_and_parts_of_extended_xmp():
    packet = xmp_of({"dc:creator": "A" * 20_000})
    quick(segments(*[(0xE1, XMP + packet)] * 200))
    quick(segments(*[(0xE1, EXTENSION + b"%032d" % index + b"\xff" * 8 + packet) for index in range(200)]))
    quick(segments(*[(0xE1, EXTENSION + b"0" * 32 + bytes(8) + packet)] * 200))


def test_exif_that_points_at_itself_or_beyond():
    entries = b"".join(struct.pack("<HHII", 0x8769, 4, 1, 8) for _ in range(5000))
    loop = b"II*\0" + struct.pack("<IH", 8, 5000) + entries
    quick(segments((0xE1, b"Exif\0\0" + loop[:65000])))
    beyond = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x010F, 2, 0xFFFFFFFF, 0xFFFFFFF0)
    assert [fact.kind for fact in quick(segments((0xE1, b"Exif\0\0" + beyond)))] == ["jpeg_quality"]


def test_iptc_without_end_and_with_false_lengths():
    quick(segments(*[(0xED, b"Photoshop 3.0\0" + b"\x1c\x02\x6e\0\0" * 13_000)] * 20))
    assert list(read_iptc(b"\x1c\x02\x6e\x7f\xffA")) == [("Credit", "A")]
    assert list(read_iptc(b"\x1c\x02\x6e\x80\x04\xff\xff\xff\xffA")) == []
    assert len(list(read_iptc(iptc_of({"Credit": "A"}) * 10_000))) <= MAX_IPTC_FIELDS


@pytest.mark.parametrize("text", [
    b"", b"\nexif\n   9\nzz", b"\nexif\n  99999999999\n" + b"4578" * 200_000, b"\n" * 100_000,
    b"\nexif\n1\n" + b"4" * 99,
])
@pytest.mark.parametrize("name", [b"exif", b"APP1", b"8bim", b"xmp", b"other"])
def test_raw_profiles_that_are_none(name, text):
    quick(png(chunk(b"tEXt", b"Raw profile type " + name + b"\0" + text)))


def test_many_segments_and_fill_bytes():
    quick(segments(*[(0xE1, b"Exif\0\0")] * 50_000))
    quick(b"\xff\xd8" + b"\xff" * 500_000)
    quick(b"\xff\xd8" + bytes(500_000))


@pytest.mark.parametrize("container", [
    png(chunk(b"caBX", b"\0\0\0\x20jumb" + bytes(500))),
    segments((0xEB, b"JP\0\1\0\0\0\1\0\0\0\x40jumb" + b"c2pa" * 20)),
    segments((0xEB, b"JP\0\1\0\0\0\1\0\0\0\x40jumb\0\0\0\x18jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71" * 900)),
])
def test_false_manifest_is_never_valid(container):
    found = [fact.value for fact in quick(container) if fact.kind == "content_credentials"]
    assert set(found) <= {"unreadable", "present", "invalid"}


def test_manifests_beyond_the_limit_are_named_and_not_read():
    data = signed(IMAGE)
    start = data.index(b"jumdc2pa") - 12
    changed = data[:start] + (MAX_STORE + 1).to_bytes(4, "big") + data[start + 4 :]
    assert [fact.value for fact in quick(changed) if fact.kind == "content_credentials"] == ["unreadable"]


PLACES = {
    "EXIF": lambda data: segments((0xE1, b"Exif\0\0" + data)), "XMP": lambda data: segments((0xE1, XMP + data)),
    "extended XMP": lambda data: segments((0xE1, EXTENSION + data)),
    "IPTC": lambda data: segments((0xED, b"Photoshop 3.0\0" + data)), "comment": lambda data: segments((0xFE, data)),
    "text": lambda data: png(chunk(b"tEXt", b"parameters\0" + data)),
    "profile": lambda data: png(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n1\n" + data.hex().encode())),
    "compressed": lambda data: png(chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(data))),
}
HEADS = [b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"<a " + SPACE.encode() + b" i:DigitalSourceType=", b"\x1c\x02",
         b"8BIM\x04\x04", b"\xff\xfe<\0"]


@given(place=st.sampled_from(sorted(PLACES)), head=st.sampled_from(HEADS), data=st.binary(max_size=2000))
def test_any_bytes_in_any_place(place, head, data):
    quick(PLACES[place](head + data))


@given(edits=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=20), cut=st.integers(0, 1600))
def test_damaged_files(edits, cut):
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        exif = exif_of({"Make": "Make", "Model": "Model", "UserComment": "Steps"})
        Image.effect_noise((24, 24), 50).convert("RGB").save(buffer, kind, exif=exif)
        data = bytearray(buffer.getvalue())
        for place, value in edits:
            data[place % len(data)] = value
        quick(bytes(data[:cut] if cut < 1500 else data))


@given(packet=st.text(alphabet="<>/&;!\"'= ax:DigitalSourceType\n", max_size=400))
def test_any_packet(packet):
    read_xmp(f'<a {SPACE} i:DigitalSourceType="x">{packet}'.encode())
