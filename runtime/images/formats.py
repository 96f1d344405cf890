"""The image formats that are decoded: no other decoder is ever started."""

from __future__ import annotations

import functools

from PIL import Image

from ..core.environment import pip_install

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "HEIF", "TGA")
"""The only decoders used. Pillow knows many more, some of which start programs (EPS runs Ghostscript)."""

JPEG_FORMATS = ("JPEG", "MPO")
"""What Pillow calls a JPEG; MPO has further pictures behind the first."""

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib",
     ".avif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpf", ".jpx")
)
"""Suffixes of the files taken from a folder, in any case. A file that is named itself is read whatever its suffix."""

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
NO_HEIF = f"a HEIC image, as phones make them; reading it needs pillow-heif: {pip_install('formats')}"


@functools.cache
def usable_formats() -> tuple[str, ...]:
    """The members of `FORMATS` that this Pillow can decode; HEIF needs the extra `formats`."""
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
