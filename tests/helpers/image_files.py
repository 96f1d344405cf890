"""Image files that Pillow does not write: TIFF of unusual layouts, 16-bit colour PNG, scan bombs."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def tiff(
    strips: list[bytes], bits: int, photometric: int, samples: int, size: tuple[int, int], planar: int = 1,
    compression: int = 1, alpha: bool = False,
) -> bytes:
    """A little-endian TIFF of a strip, or of a strip a plane; compression 8 is zlib; the last sample may be alpha."""
    width, height = size
    strips = [zlib.compress(strip) for strip in strips] if compression == 8 else strips
    starts = [8 + sum(map(len, strips[:i])) for i in range(len(strips))]
    tags = [
        (256, "I", [width]), (257, "I", [height]), (258, "H", [bits] * samples), (259, "H", [compression]),
        (262, "H", [photometric]), (273, "I", starts), (277, "H", [samples]), (278, "I", [height]),
        (279, "I", [len(strip) for strip in strips]), (284, "H", [planar]),
    ] + [(338, "H", [2])] * alpha
    directory = 8 + sum(map(len, strips))
    behind = directory + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, kind, items in tags:
        raw = struct.pack(f"<{len(items)}{kind}", *items)
        entries += struct.pack("<HHI", tag, 3 if kind == "H" else 4, len(items))
        entries += raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", behind + len(values))
        values += raw if len(raw) > 4 else b""
    header = b"II*\0" + struct.pack("<I", directory)
    return header + b"".join(strips) + struct.pack("<H", len(tags)) + entries + b"\0" * 4 + values


def twelve_bits(values: np.ndarray) -> bytes:
    """uint16 below 4096, an even number of them -> three bytes for two."""
    first, second = values.reshape(-1, 2).astype(np.uint16).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    return packed.astype(np.uint8).tobytes()


def deep_png(values: np.ndarray, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG of uint16 [H, W] or [H, W, C], with further chunks before the pixels."""
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    framed = (struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def many_scans(scans: int, width: int, height: int) -> bytes:
    """A flat progressive JPEG whose last scan is repeated until there are `scans` in all."""
    buffer = io.BytesIO()
    Image.new("L", (width, height), 128).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + data[-2:]
