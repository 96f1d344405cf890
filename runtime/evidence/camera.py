"""What EXIF says about the camera."""

from __future__ import annotations

from .fact import Evidence
from .generator import excerpt


def camera(exif: dict[str, str]) -> Evidence | None:
    """The fact that EXIF names a camera; None where it names none."""
    make, model = excerpt(exif.get("make", "")), excerpt(exif.get("model", ""))
    if not (make or model) or "{" in make + model:
        return None
    name = model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    lens = excerpt(exif.get("lens_model", ""))
    exposure = any(field in exif for field in ("exposure", "aperture", "iso"))
    parts = [f"names the camera {name}", f"lens {lens}" if lens else "no lens",
             "exposure settings present" if exposure else "no exposure settings"]
    return Evidence("camera", "EXIF", ", ".join(parts), name)
