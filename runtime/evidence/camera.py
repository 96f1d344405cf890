"""What EXIF says about the camera."""

from __future__ import annotations

from .exif import Exif
from .fact import Evidence
from .generator import excerpt


def camera(exif: Exif) -> Evidence | None:
    """The fact that EXIF names a camera; None where it names none."""
    make, model = excerpt(exif.text("make")), excerpt(exif.text("model"))
    if not (make or model) or "{" in make + model:
        return None
    name = model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    lens = excerpt(exif.text("lens_model"))
    exposure = any(field in exif.values for field in ("exposure", "aperture", "iso"))
    parts = [f"names the camera {name}", f"lens {lens}" if lens else "no lens",
             "exposure settings present" if exposure else "no exposure settings"]
    return Evidence("camera", "EXIF", ", ".join(parts), name)
