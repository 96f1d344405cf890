"""Training sees images, in the formats they come in and decoded as its cache says, as the runtime does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cinemae.runtime.core.manifest import MethodConfig
from cinemae.runtime.images.decode import decode
from cinemae.runtime.images.preprocess import load_image, resize_crop
from cinemae.train.data.sample import Sample
from cinemae.train.data.transforms import TRANSFORMS
from image_files import deep_png
from PIL import Image

ORIENTATION = 0x0112
"""The EXIF tag; 6: the picture is to be turned by 90 degrees clockwise."""


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


@pytest.mark.data
def test_extraction_sees_the_pixels_of_the_runtime(data_root, create, fill, tmp_path, seen):
    found = sorted(path for path in (data_root / "raw").rglob("*") if path.is_file())
    photograph = next(path for path in found if path.suffix.lower() in (".jpg", ".jpeg"))
    paths, spec = [*odd_formats(photograph, tmp_path), *found], create(MethodConfig())
    report = fill([Sample(str(path), 1, "g", "train") for path in paths], spec)
    assert (report.computed, report.skipped) == (len(paths), ())
    trained = np.concatenate(seen)
    for path, pixels in zip(paths, trained, strict=True):
        assert np.array_equal(pixels, load_image(path, spec.preprocess).pixels), path
    turns = [np.abs(np.rot90(trained[4], k).astype(int) - trained[1]).mean() for k in range(4)]
    assert turns[1] < min(turns[0], turns[2], turns[3]) / 3, "the same picture, but for JPEG, if it is turned back"


def test_scaled_decoding_gives_training_the_pixels_of_the_runtime(spec, fill, tmp_path, seen):
    path = tmp_path / "large.jpg"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (300, 420, 3), dtype=np.uint8)).save(path, quality=90)
    full, scaled = spec.preprocess, spec.preprocess.model_copy(update={"decode": "scaled"})
    for augment in ("none", "robust"):
        changed = spec.model_copy(update={"preprocess": scaled, "augment": augment})
        (sample,) = fill([Sample(str(path), 1, "g", "train")], changed).samples
    pixels = load_image(path, scaled).pixels
    assert np.array_equal(seen[0][0], pixels)
    assert not np.array_equal(pixels, load_image(path, full).pixels)
    generator = np.random.default_rng([0, 0, int(sample.content[:16], 16)])
    assert np.array_equal(seen[1][0], resize_crop(TRANSFORMS["robust"](decode(path), generator), scaled))
