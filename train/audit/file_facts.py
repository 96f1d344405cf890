"""Properties of an image file: container, size, JPEG quality, hashes of its bytes and of its pixels."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass

from PIL import Image, JpegImagePlugin

from ...runtime.core.errors import ImageError
from ...runtime.evidence.jpeg_quality import estimate_quality


@dataclass(frozen=True)
class FileFacts:
    """Properties of one image file.

    Attributes:
        container: Pillow's name of the format.
        mode: Pillow's name of the colour mode.
        width: native width in pixels.
        height: native height in pixels.
        file_bytes: size of the file.
        quality: estimated JPEG quality, 1 to 100; None for other formats.
        subsampling: chroma subsampling of a JPEG, such as "4:2:0"; "" for other formats.
        progressive: whether it is a progressive JPEG.
        exif: whether it has EXIF data.
        icc: whether it has a colour profile.
        content: SHA-256 of the file's bytes.
        pixels: SHA-256 of size and RGB pixels.
    """

    container: str
    mode: str
    width: int
    height: int
    file_bytes: int
    quality: int | None
    subsampling: str
    progressive: bool
    exif: bool
    icc: bool
    content: str
    pixels: str


def file_facts(path: str, data: bytes, image: Image.Image) -> FileFacts:
    """Collect the properties of one file.

    Args:
        path: for messages.
        data: bytes of the file.
        image: its decoded RGB image.

    Raises:
        ImageError: the header cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = Image.open(io.BytesIO(data))
            tables = getattr(header, "quantization", None) or {}
            is_jpeg = isinstance(header, JpegImagePlugin.JpegImageFile)
            sampling = JpegImagePlugin.get_sampling(header) if is_jpeg else -1
    except Exception as error:  # a damaged header raises almost anything; it is one bad file
        raise ImageError(f"{path}: cannot be decoded ({type(error).__name__}: {error})") from None
    return FileFacts(
        container=header.format or "unknown",
        mode=header.mode,
        width=header.width,
        height=header.height,
        file_bytes=len(data),
        quality=estimate_quality(tables[0]) if is_jpeg and 0 in tables else None,
        subsampling={0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(sampling, ""),
        progressive=bool(header.info.get("progressive")),
        exif=bool(header.info.get("exif")),
        icc=bool(header.info.get("icc_profile")),
        content=hashlib.sha256(data).hexdigest(),
        pixels=hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest(),
    )


METADATA_FEATURES = (
    "jpeg", "png", "webp", "other", "gray", "palette", "alpha", "width", "height", "aspect", "quality", "420", "444",
    "progressive", "exif", "icc",
)


def metadata_features(facts: FileFacts) -> list[float]:
    """Features for a classifier that sees no pixels: one value for each of `METADATA_FEATURES`."""
    kinds = [float(facts.container in names) for names in (("JPEG", "MPO"), ("PNG",), ("WEBP",))]
    modes = [float(facts.mode == "L"), float(facts.mode == "P"), float(facts.mode in ("RGBA", "LA", "PA"))]
    return [
        *kinds, float(not any(kinds)), *modes,
        float(facts.width), float(facts.height), facts.width / facts.height,
        -1.0 if facts.quality is None else float(facts.quality),
        float(facts.subsampling == "4:2:0"), float(facts.subsampling == "4:4:4"),
        float(facts.progressive), float(facts.exif), float(facts.icc),
    ]
