"""Animations and videos rendered for tests."""

import io
import struct

from pictures import picture
from PIL import Image


def frames_of(count: int, width: int = 96, height: int = 80) -> list[Image.Image]:
    """Different pictures of few colours, so that a GIF keeps them as they are."""
    return [picture(width, height, seed).quantize(64).convert("RGB") for seed in range(count)]


def animation(kind: str, pictures: list[Image.Image], duration: int = 100, **options) -> bytes:
    """An animated GIF, PNG, WEBP or AVIF without loss, as far as the format allows."""
    buffer = io.BytesIO()
    extra = {"WEBP": {"lossless": True}, "AVIF": {"quality": 90}}.get(kind, {})
    pictures[0].save(
        buffer, kind, save_all=True, append_images=pictures[1:], duration=duration, **{**extra, **options}
    )
    return buffer.getvalue()


def many_tiny_frames(count: int) -> bytes:
    """A GIF of `count` frames of one pixel."""
    frame = b"!\xf9\x04\0\1\0\0\0" + b"," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0" + b"\2\2D\1\0"
    return b"GIF89a" + struct.pack("<HH", 1, 1) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff" + frame * count + b";"


def video(pictures: list[Image.Image], kind: str = "mp4", rate: int = 10, gop: int = 12) -> bytes:
    """A video of `pictures`, one each 1/rate s."""
    import av

    buffer = io.BytesIO()
    codec = {"mp4": "mpeg4", "matroska": "mpeg4", "webm": "libvpx", "avi": "mpeg4", "mov": "mpeg4"}[kind]
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt, stream.codec_context.gop_size, stream.bit_rate = "yuv420p", gop, 4_000_000
        for one in pictures:
            container.mux(stream.encode(av.VideoFrame.from_image(one)))
        container.mux(stream.encode())
    return buffer.getvalue()
