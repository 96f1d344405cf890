"""Training sees real images, in the formats they come in, as the runtime does: the same pixels from the same files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cinemae.runtime.core.manifest import Backbone, MethodConfig, Preprocess
from cinemae.runtime.images.preprocess import load_image
from cinemae.train.data.sample import Sample
from cinemae.train.features.cache_spec import CacheSpec
from cinemae.train.features.extract import FeatureExtractor, extract
from image_files import deep_png
from PIL import Image
from recording import recording

PREPROCESS = Preprocess(resize_short=72, crop=64)
ORIENTATION = 0x0112
"""The EXIF tag; 6: the picture is to be turned by 90 degrees clockwise."""
pytestmark = pytest.mark.slow


def odd_formats(photograph: Path, folder: Path) -> list[Path]:
    """A real photograph as CMYK JPEG, 16-bit PNG, palette PNG, gray JPEG, and JPEG turned by its EXIF."""
    image = Image.open(photograph).convert("RGB")
    names = ("cmyk.jpg", "deep.png", "palette.png", "gray.jpg", "turned.jpg")
    paths = [folder / name for name in names]
    image.convert("CMYK").save(paths[0], quality=95)
    paths[1].write_bytes(deep_png(np.asarray(image, np.uint16) * 257, 2))
    image.quantize(64).save(paths[2], transparency=0)
    image.convert("L").save(paths[3], quality=95)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image.save(paths[4], quality=95, exif=exif)
    return paths


def test_extraction_sees_the_pixels_of_the_runtime(data_root, tiny_config, tiny_detector, tmp_path, monkeypatch):
    found = sorted(path for path in (data_root / "raw").rglob("*") if path.is_file())
    photograph = next(path for path in found if path.suffix.lower() in (".jpg", ".jpeg"))
    paths = [*odd_formats(photograph, tmp_path), *found]
    backbone = Backbone(config=tiny_config, source="seeded random values", sha256="0" * 64, licence="none")
    spec = CacheSpec.create(backbone, PREPROCESS, MethodConfig())
    seen: list[np.ndarray] = []
    monkeypatch.setattr(FeatureExtractor, "__call__", recording(FeatureExtractor.__call__, seen))
    samples = [Sample(str(path), 1, "g", "train") for path in paths]
    report = extract(samples, lambda: tiny_detector.mae, spec, tmp_path / "cache", batch_size=8, quiet=True)
    assert (report.computed, report.skipped) == (len(paths), ())
    trained = np.concatenate(seen)
    for path, pixels in zip(paths, trained, strict=True):
        expected = load_image(path, PREPROCESS)
        assert np.array_equal(pixels, expected.pixels), path
    turns = [np.abs(np.rot90(trained[4], k).astype(int) - trained[1]).mean() for k in range(4)]
    assert turns[1] < min(turns[0], turns[2], turns[3]) / 3, "the same picture, but for JPEG, if it is turned back"
