"""Images that carry given metadata, in every place of every format that tests read."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from xml.sax.saxutils import escape

import pytest
from cinemae.runtime.evidence.exif import FIELDS
from cinemae.runtime.evidence.metadata import IPTC_FIELDS as DATASETS
from cinemae.runtime.evidence.xmp import NAMES
from PIL import Image, PngImagePlugin, features

IMAGE = Image.effect_noise((64, 48), 60).convert("RGB")
KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF", "HEIF")
Pairs = dict[str, str]
_TAGS = {name: tag for tag, name in FIELDS.items()}
_IFD0 = ("ImageDescription", "Make", "Model", "Software", "Artist", "Copyright")


def encoded(kind: str = "PNG", **options) -> bytes:
    """The image in a format; skips the test where this machine cannot write it."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    buffer = io.BytesIO()
    IMAGE.save(buffer, kind, **options)
    return buffer.getvalue()


def exif_of(pairs: Pairs, comment: Callable[[str], bytes] | None = None) -> bytes:
    """An EXIF structure; UserComment in UTF-16 as piexif writes it, or as `comment` encodes it."""
    exif = Image.Exif()
    for name, text in pairs.items():
        value = (comment or (lambda text: b"UNICODE\0" + text.encode("utf-16-be")))(text)
        directory = exif if name in _IFD0 else exif.get_ifd(0x8769)
        directory[_TAGS[name]] = value if name == "UserComment" else text
    return exif.tobytes()


def xmp_of(pairs: Pairs) -> bytes:
    """An XMP packet of elements."""
    spaces = {prefix: space for space, (prefix, _) in NAMES.items()}
    used = "".join(f' xmlns:{prefix}="{space}"' for prefix, space in spaces.items())
    body = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in pairs.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        f'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""{used}>{body}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def iptc_of(pairs: Pairs) -> bytes:
    """IIM datasets of record 2, in UTF-8."""
    numbers = {name: number for number, name in DATASETS.items()}
    return b"".join(
        struct.pack(">BBBH", 0x1C, 2, numbers[name], len(text.encode())) + text.encode() for name, text in pairs.items()
    )


def photoshop_of(pairs: Pairs) -> bytes:
    """Photoshop's resources: a caption digest, then IIM."""
    data = iptc_of(pairs)
    return b"8BIM\x04\x25\0\0\0\0\0\x10" + bytes(16) + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(data)) + data


def segments(*parts: tuple[int, bytes], after: bytes | None = None) -> bytes:
    """A JPEG with these (marker, data) segments before its own."""
    made = b"".join(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in parts)
    return b"\xff\xd8" + made + (after or encoded("JPEG"))[2:]


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunks(*parts: tuple[bytes, bytes]) -> bytes:
    """A PNG with these (name, data) chunks behind its header."""
    data = encoded("PNG")
    return data[:33] + b"".join(chunk(*part) for part in parts) + data[33:]


def png_texts(pairs: Pairs, form: str = "tEXt") -> bytes:
    """A PNG with texts in chunks of one form: tEXt, zTXt, iTXt, or iTXt compressed ("iTXt, zip")."""
    info = PngImagePlugin.PngInfo()
    for key, text in pairs.items():
        if form.startswith("iTXt"):
            info.add_itxt(key, text, zip="," in form)
        else:
            info.add_text(key, text.encode() if isinstance(text, str) else text, zip=form == "zTXt")
    return encoded("PNG", pnginfo=info)


def raw_profile(name: str, data: bytes) -> bytes:
    """A PNG with one of ImageMagick's profiles (coders/png.c, Magick_png_write_raw_profile)."""
    digits = data.hex()
    lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    return png_texts({f"Raw profile type {name}": f"\n{name}\n{len(data):8}\n{lines}\n"}, "zTXt")


def gif_with_xmp(packet: bytes) -> bytes:
    """A GIF with XMP's application extension (XMP Part 3, 1.1.2): the packet as it is, then 258 bytes that end it."""
    data = encoded("GIF")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    return data[:at] + b"!\xff\x0bXMP DataXMP" + packet + trailer + data[at:]


def _exif(kind: str, exif: bytes) -> bytes | None:
    if kind == "TIFF":  # the file is the structure
        structure = Image.Exif()
        structure.load(exif)
        structure.get_ifd(0x8769)
        return encoded(kind, exif=structure)
    return None if kind == "GIF" else encoded(kind, exif=exif)


def _xmp(kind: str, packet: bytes) -> bytes | None:
    if kind == "PNG":
        return png_texts({"XML:com.adobe.xmp": packet.decode()}, "iTXt")
    if kind == "TIFF":
        return encoded(kind, tiffinfo={700: packet})
    return gif_with_xmp(packet) if kind == "GIF" else encoded(kind, xmp=packet)


def _second_packet(kind: str, packet: bytes) -> bytes | None:
    if kind != "JPEG":
        return None
    head = b"http://ns.adobe.com/xap/1.0/\0"
    return segments((0xE1, head + xmp_of({"dc:creator": "A"})), (0xE1, head + packet))


def _extended(kind: str, packet: bytes) -> bytes | None:
    if kind != "JPEG":
        return None
    head, middle = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32, len(packet) // 2
    parts = [(0xE1, head + struct.pack(">II", len(packet), at) + packet[at : at + middle + 1])
             for at in (middle + 1, 0)]  # the parts may come in any order
    return segments((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp_of({"dc:creator": "A"})), *parts)


def _iptc(kind: str, pairs: Pairs) -> bytes | None:
    if kind == "JPEG":
        return segments((0xED, b"Photoshop 3.0\0" + photoshop_of(pairs)))
    return encoded(kind, tiffinfo={33723: iptc_of(pairs)}) if kind == "TIFF" else None


def _only(kind: str, wanted: str, made: Callable[[], bytes]) -> bytes | None:
    return made() if kind == wanted else None


def _comment(kind: str, text: str) -> bytes | None:
    return encoded(kind, comment=text.encode()) if kind in ("JPEG", "GIF") else None


PLACES: dict[str, dict[str, Callable[[str, Pairs], bytes | None]]] = {
    "text": {
        form: lambda kind, pairs, form=form: _only(kind, "PNG", lambda: png_texts(pairs, form))
        for form in ("tEXt", "zTXt", "iTXt", "iTXt, zip")
    },
    "comment": {"comment": lambda kind, pairs: _comment(kind, pairs[""])},
    "EXIF": {
        "EXIF": lambda kind, pairs: _exif(kind, exif_of(pairs)),
        "raw profile exif": lambda kind, pairs: _only(kind, "PNG", lambda: raw_profile("exif", exif_of(pairs))),
        "raw profile APP1": lambda kind, pairs: _only(kind, "PNG", lambda: raw_profile("APP1", exif_of(pairs))),
    },
    "XMP": {
        "XMP": lambda kind, pairs: _xmp(kind, xmp_of(pairs)),
        "XMP, UTF-16": lambda kind, pairs: (
            None if kind in ("PNG", "GIF") else _xmp(kind, xmp_of(pairs).decode().encode("utf-16"))),
        "XMP, second packet": lambda kind, pairs: _second_packet(kind, xmp_of(pairs)),
        "XMP, extended": lambda kind, pairs: _extended(kind, xmp_of(pairs)),
        "XMP in tEXt": lambda kind, pairs: _only(
            kind, "PNG", lambda: png_texts({"XML:com.adobe.xmp": xmp_of(pairs).decode()}, "tEXt")),
        "XMP in zTXt": lambda kind, pairs: _only(
            kind, "PNG", lambda: png_texts({"XML:com.adobe.xmp": xmp_of(pairs).decode()}, "zTXt")),
        "raw profile xmp": lambda kind, pairs: _only(kind, "PNG", lambda: raw_profile("xmp", xmp_of(pairs))),
        "raw profile APP1 (XMP)": lambda kind, pairs: _only(
            kind, "PNG", lambda: raw_profile("APP1", b"http://ns.adobe.com/xap/1.0/\0" + xmp_of(pairs))),
    },
    "IPTC": {
        "IPTC-IIM": _iptc,
        "IPTC-IIM, Photoshop": lambda kind, pairs: _only(
            kind, "TIFF", lambda: encoded(kind, tiffinfo={34377: photoshop_of(pairs)})),
        "raw profile iptc": lambda kind, pairs: _only(kind, "PNG", lambda: raw_profile("iptc", iptc_of(pairs))),
        "raw profile 8bim": lambda kind, pairs: _only(kind, "PNG", lambda: raw_profile("8bim", photoshop_of(pairs))),
    },
}
"""Place -> its forms: the bytes of a file of some kind that holds the pairs there; None where that kind has no such
place."""
