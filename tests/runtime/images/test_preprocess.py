"""Every kind of image file becomes the same uint8 RGB square, whichever way it comes; a bad one is one clear error."""

import io
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cinemae.runtime.core.errors import ImageError
from cinemae.runtime.core.manifest import Preprocess
from cinemae.runtime.images import decode as decoding
from cinemae.runtime.images import preprocess
from cinemae.runtime.images.decode import PixelBudget
from cinemae.runtime.images.formats import usable_formats
from cinemae.runtime.images.modes import scale_to_8_bits
from cinemae.runtime.images.preprocess import load_image, resize_crop
from moving_pictures import animation, frames_of
from pictures import encoded, picture
from PIL import Image

SMALL = Preprocess(resize_short=72, crop=64)
JPEG_TOLERANCE = 12  # mean of 255: quality 95 with halved chroma on the blocks of `picture`
ROUNDING = 1  # Pillow's two-pass resize rounds to 8 bits after each pass


def pixels(source, settings=SMALL):
    return load_image(source, settings).pixels


@pytest.mark.parametrize(
    ("kind", "options"),
    [*((kind, {}) for kind in ("PNG", "BMP", "TIFF", "PPM", "TGA")), ("WEBP", {"lossless": True})],
)
def test_lossless_formats_give_the_same_pixels(kind, options):
    assert np.array_equal(pixels(encoded(picture(), kind, **options)), pixels(picture()))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "JPEG2000", "AVIF", "HEIF"])
def test_lossy_formats_come_close(kind):
    if kind not in usable_formats():
        pytest.skip(f"{kind} needs the extra formats, or another Pillow")
    data = encoded(picture(160, 140), kind, **({} if kind == "JPEG2000" else {"quality": 95}))
    assert np.abs(pixels(data).astype(int) - pixels(picture(160, 140))).mean() < JPEG_TOLERANCE


def test_path_bytes_file_pillow_and_array_agree(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture()))
    expected = pixels(path)
    data = path.read_bytes()
    objects = (bytearray(data), memoryview(data), io.BytesIO(data), picture(), np.asarray(picture()))
    for source in (str(path), data, *objects):
        assert np.array_equal(pixels(source), expected)


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load_image(encoded(picture(96, 80), "JPEG", exif=exif, quality=95), SMALL)
    assert (loaded.width, loaded.height) == (80, 96)
    upright = picture(96, 80).transpose(Image.Transpose.ROTATE_270)
    assert np.abs(loaded.pixels.astype(int) - pixels(upright)).mean() < JPEG_TOLERANCE


def test_damaged_exif_is_no_reason_to_refuse():
    data = encoded(picture(), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff garbage")
    assert pixels(data).shape == (64, 64, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode):
    image = picture().convert(mode[:-1]).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda value: 0 if value < 128 else 255))
    expected = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    assert np.abs(pixels(encoded(image.convert(mode))).astype(int) - pixels(expected)).max() <= ROUNDING


def test_transparent_colours_of_a_palette_are_white():
    image = picture().quantize(64)
    opaque = np.where(np.asarray(image)[..., None] == 0, 255, np.asarray(image.convert("RGB"))).astype(np.uint8)
    assert not np.array_equal(opaque, np.asarray(image.convert("RGB")))
    assert np.array_equal(pixels(encoded(image, "PNG", transparency=0)), pixels(opaque))


def test_grayscale_one_bit_and_cmyk():
    gray = load_image(encoded(picture().convert("L")), SMALL)
    assert gray.grayscale
    assert not load_image(picture(), SMALL).grayscale
    assert np.array_equal(gray.pixels[..., 0], gray.pixels[..., 2])
    one_bit = pixels(encoded(picture().convert("1")))
    assert one_bit.min() < 30 < 220 < one_bit.max()
    cmyk = pixels(encoded(picture().convert("CMYK"), "TIFF"))
    assert np.abs(cmyk.astype(int) - pixels(picture())).mean() < JPEG_TOLERANCE


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    values = np.asarray(picture().convert("L")).astype(np.uint16) * 257
    eight = pixels((values // 257).astype(np.uint8))
    assert np.array_equal(pixels(encoded(Image.fromarray(values), kind)), eight)
    assert np.array_equal(pixels(values), eight)


def test_sixteen_bits_round_to_the_nearest():
    values = np.arange(65536, dtype=np.uint16)
    exact = np.floor(values.astype(np.float64) * 255 / 65535 + 0.5)
    assert np.array_equal(scale_to_8_bits(values), exact)


def test_large_images_are_decoded_one_at_a_time(monkeypatch):
    """Four threads that meet four huge images must not hold them all at once, the resize included."""
    inside, together = [], {1: [], 4: []}
    real = preprocess.resize_crop

    def slow(image, settings):
        inside.append(image)
        together[budget].append(len(inside))
        time.sleep(0.05)
        inside.pop()
        return real(image, settings)

    monkeypatch.setattr(preprocess, "resize_crop", slow)
    for budget in together:
        monkeypatch.setattr(decoding, "IN_FLIGHT", PixelBudget(96 * 80 * budget))
        with ThreadPoolExecutor(4) as pool:
            assert len(list(pool.map(pixels, [picture()] * 8))) == 8
    assert max(together[1]) == 1 < max(together[4])


def test_float_tiff():
    values = np.asarray(picture().convert("L"))
    assert np.array_equal(pixels(encoded(Image.fromarray(values.astype(np.float32)), "TIFF")), pixels(values))
    unit = Image.fromarray((values / 255).astype(np.float32))
    assert np.abs(pixels(encoded(unit, "TIFF")).astype(int) - pixels(values)).max() <= ROUNDING


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_give_their_first_frame(kind):
    first, *others = frames_of(2)
    assert np.array_equal(pixels(animation(kind, [first, *others])), pixels(first))


@pytest.mark.parametrize("size", [(321, 481), (481, 321), (224, 300), (256, 256), (100, 37), (2000, 1500), (40, 600)])
def test_resize_and_crop_in_two_plain_steps(size):
    settings = Preprocess()
    image = picture(*size)
    scale = 256 / min(size)
    resized = image.resize((round(size[0] * scale), round(size[1] * scale)), Image.Resampling.BICUBIC)
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    assert np.array_equal(resize_crop(image, settings), np.asarray(resized)[top : top + 224, left : left + 224])


def test_extreme_aspect_ratio_agrees_with_the_plain_way():
    # smooth content: the other order of Pillow's passes matters only where bicubic overshoot is clipped
    image = Image.linear_gradient("L").resize((40, 40 * (preprocess.MAX_ASPECT + 1))).convert("RGB")
    scale = 72 / 40
    resized = image.resize((72, round(image.height * scale)), Image.Resampling.BICUBIC)
    top = (resized.height - 64) // 2
    plain = np.asarray(resized)[top : top + 64, 4:68].astype(int)
    assert np.abs(resize_crop(image, SMALL) - plain).max() <= ROUNDING


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a readable image"),
        (b"GIF89a", "cannot be decoded|not a readable image"),
        (b"plain text, no image", "not a readable image"),
        (encoded(picture(), "JPEG")[:700], "cannot be decoded"),
        (encoded(picture(), "PNG")[:-200], "cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a readable image"),
    ],
)
def test_bad_data_is_one_clear_error(data, message):
    with pytest.raises(ImageError, match=message):
        load_image(data, SMALL)


def claimed_size(width, height):
    """A small PNG whose header claims another size."""
    data = encoded(picture())
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def test_missing_folder_and_bomb(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        load_image(tmp_path / "absent.png", SMALL)
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path, SMALL)
    for width, height in ((14_000, 13_000), (60_000, 60_000)):  # beyond our limit, and beyond Pillow's
        with pytest.raises(ImageError, match="178,000,000 pixels"):
            load_image(claimed_size(width, height), SMALL)
    with pytest.raises(ImageError, match="1,000 pixels"):
        load_image(picture(), SMALL, max_pixels=1000)


@pytest.mark.parametrize("array", [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4), np.float32), np.zeros(4, np.uint8)])
def test_arrays_that_are_no_images(array):
    with pytest.raises(ImageError, match="an array must be"):
        load_image(array, SMALL)
    with pytest.raises(ImageError):
        load_image(np.zeros((0, 4, 3), np.uint8), SMALL)
