"""Hostile metadata: huge, nested, malformed; no exception leaves `collect`, and it stays quick."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from cinemae.runtime.evidence.xmp import MAX_DEPTH, read_xmp
from facts_of import timed_facts_of
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
IPTC = 'xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
SECONDS = 2.0
"""Far above what any of these takes, so that a loaded machine does not fail the test."""


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*chunks: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()[:33] + b"".join(chunks) + buffer.getvalue()[33:]


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG")
    made = b"".join(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in segments)
    return b"\xff\xd8" + made + buffer.getvalue()[2:]


def quick(data: bytes) -> tuple:
    found, seconds = timed_facts_of(data)
    assert seconds < SECONDS
    assert all(len(fact.statement) < 2000 and fact.statement.isprintable() for fact in found)
    return found


def test_bomb_in_compressed_text():
    bomb = zlib.compress(bytes(1 << 28))
    quick(png(*[chunk(b"zTXt", b"parameters\0\0" + bomb)] * 20))
    quick(png(*[chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb[:1000])] * 5000))


def test_huge_and_many_texts():
    found = quick(png(chunk(b"tEXt", b"parameters\0" + b"Steps: 1, Sampler: x, " * 400_000),
                      *[chunk(b"tEXt", b"k%d\0x" % index) for index in range(30_000)]))
    assert [fact.value for fact in found] == ["Stable Diffusion WebUI"]


def test_text_cannot_forge_a_line_or_colour():
    (fact,) = quick(png(chunk(b"tEXt", b"parameters\0\x1b[31mSteps: 1\n, Sampler: \x07x")))
    assert "\x1b" not in fact.statement
    assert "\n" not in fact.statement


@pytest.mark.parametrize("document", [
    f'<!DOCTYPE a [<!ENTITY e "trainedAlgorithmicMedia">]><a {IPTC} i:DigitalSourceType="&e;"/>',
    '<!DOCTYPE a [<!ENTITY a0 "aaaaaaaaaa">' + "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(8))
    + f']><a {IPTC}><i:DigitalSourceType>&a8;</i:DigitalSourceType></a>',
    f'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd"><a {IPTC} i:DigitalSourceType="digitalCapture"/>',
    '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    f"<a {IPTC}><i:DigitalSourceType>&f;</i:DigitalSourceType></a>",
])
def test_documents_with_a_type_are_refused(document):
    assert read_xmp(document.encode()) == {}


def test_nested_xmp_stops():
    inside = f'<b {IPTC} i:DigitalSourceType="digitalCapture"/>'
    deep = "<a>" * MAX_DEPTH + inside + "</a>" * MAX_DEPTH
    assert read_xmp(deep.encode()) == {}
    assert read_xmp(f"<a>{inside}</a>".encode()) == {"source_type": "digitalCapture"}
    quick(png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<a>" * 300_000 + b"DigitalSourceType")))


def test_many_elements_and_attributes_stop():
    attributes = " ".join(f'a{n}="{n}"' for n in range(50_000))
    quick(png(chunk(b"iTXt", f"XML:com.adobe.xmp\0\0\0\0\0<a {attributes}>DigitalSourceType</a>".encode())))
    quick(png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<a>DigitalSourceType" + b"<b/>" * 200_000 + b"</a>")))


def test_exif_that_points_at_itself_or_beyond():
    entries = b"".join(struct.pack("<HHII", 0x8769, 4, 1, 8) for _ in range(5000))
    loop = b"II*\0" + struct.pack("<IH", 8, 5000) + entries
    quick(jpeg((0xE1, b"Exif\0\0" + loop[:65000])))
    beyond = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x010F, 2, 0xFFFFFFFF, 0xFFFFFFF0)
    assert [fact.kind for fact in quick(jpeg((0xE1, b"Exif\0\0" + beyond)))] == ["jpeg_quality"]


def test_many_segments_and_fill_bytes():
    quick(jpeg(*[(0xE1, b"Exif\0\0")] * 50_000))
    quick(b"\xff\xd8" + b"\xff" * 500_000)
    quick(b"\xff\xd8" + bytes(500_000))


@pytest.mark.parametrize("container", [
    png(chunk(b"caBX", b"\0\0\0\x20jumb" + bytes(500))), jpeg((0xEB, b"JP\0\1\0\0\0\1\0\0\0\x40jumb" + b"c2pa" * 20)),
])
def test_false_manifest_is_never_valid(container):
    assert {fact.value for fact in quick(container)} <= {"unreadable", "present", "invalid", "75"}


HEADS = [b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPEXIF", b"\0\0\0\x10ftypheic", b"II*\0\x08\0\0\0",
         b"MM\0*\0\0\0\x08", b"\xff\xd8\xff\xe1\0\xffExif\0\0II*\0\x08\0\0\0", b""]


@given(head=st.sampled_from(HEADS), data=st.binary(max_size=2000))
def test_any_bytes(head, data):
    quick(head + data)


@given(edits=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=20), cut=st.integers(0, 1600))
def test_damaged_files(edits, cut):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Make", "Model"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0Steps"
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        Image.effect_noise((24, 24), 50).convert("RGB").save(buffer, kind, exif=exif)
        data = bytearray(buffer.getvalue())
        for place, value in edits:
            data[place % len(data)] = value
        quick(bytes(data[:cut] if cut < 1500 else data))


@given(packet=st.text(alphabet="<>/&;!\"'= ax:DigitalSourceType\n", max_size=400))
def test_any_packet(packet):
    read_xmp(f'<a {IPTC} i:DigitalSourceType="x">{packet}'.encode())
