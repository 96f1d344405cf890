"""What the metadata says of the camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .fact import Evidence, excerpt
from .text import Text
from .writers import CAMERA_FIELDS, Found


def camera(texts: Sequence[Text], found: Sequence[Found]) -> Iterator[Evidence]:
    """Yield the fact that the metadata names a camera; nothing where a generator is named in its place."""
    if any(one.text.key in CAMERA_FIELDS for one in found):
        return
    fields = {text.key: text for text in reversed(texts) if text.source.startswith(("EXIF", "XMP tiff:"))}
    make, model = (excerpt(fields[name].text) if name in fields else "" for name in ("Make", "Model"))
    if not (make or model) or "{" in make + model:
        return
    name = model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    parts = [f"The file names the camera {name}"]
    if "LensModel" in fields:
        parts.append(f"lens {excerpt(fields['LensModel'].text)}")
    if fields.keys() & {"ExposureTime", "FNumber", "ISO"}:
        parts.append("with exposure settings")
    if "DateTimeOriginal" in fields:
        parts.append(f"taken {excerpt(fields['DateTimeOriginal'].text)}")
    if "GPS" in fields:
        parts.append("with a position")
    first = fields["Model" if "Model" in fields else "Make"]
    yield Evidence("camera", first.source.split()[0], ", ".join(parts), name)
