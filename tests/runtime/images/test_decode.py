"""Files made to cost much, and files whose pixels a decoder misreads: refused at once, or right."""

import os
import struct
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
from cinemae.runtime.core.errors import ImageError
from cinemae.runtime.core.manifest import Preprocess
from cinemae.runtime.images import decode as decoding
from cinemae.runtime.images import formats
from cinemae.runtime.images.decode import DecodedImage, PixelBudget, decode
from cinemae.runtime.images.flaws import MAX_SCANNED_PIXELS, MAX_SCANS, count_scans
from cinemae.runtime.images.preprocess import load_image
from cinemae.runtime.images.source import MAX_FILE_BYTES
from cinemae.runtime.images.tiles import cut_tiles
from cinemae.runtime.images.walk import walk
from image_files import deep_png, many_scans, tiff, twelve_bits
from pictures import encoded, picture
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

SIZE = (96, 80)
COLOUR = np.asarray(picture(*SIZE))
GREY = np.asarray(picture(*SIZE).convert("L"))
HELD = 1 << 24  # bytes: what a refusal may hold at once, and a small part of what reading or decoding these files takes


def grey_of(data):
    return np.asarray(decode(data))[..., 0].astype(int)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_scan_bomb_is_refused_before_any_pixel_is_decoded(tmp_path, monkeypatch):
    bomb = many_scans(20_000, 13_000, 13_000)
    assert len(bomb) > 4_600_000
    (tmp_path / "bomb.jpg").write_bytes(bomb)
    loaded, load = [], JpegImageFile.load
    monkeypatch.setattr(JpegImageFile, "load", lambda image: (loaded.append(image.size), load(image))[1])
    decode(encoded(picture(), "JPEG"))
    assert loaded.pop() == SIZE  # an honest JPEG goes this way
    for source in (tmp_path / "bomb.jpg", bomb):
        with pytest.raises(ImageError, match="more than 21 scans"):
            decode(source)
    assert not loaded


def test_many_scans_pass_up_to_the_limit():
    assert decode(many_scans(MAX_SCANS, 64, 64)).size == (64, 64)
    with pytest.raises(ImageError, match=r"more than 100 scans.*save it again"):
        decode(many_scans(MAX_SCANS + 1, 64, 64))
    side = 8000
    assert MAX_SCANNED_PIXELS // side**2 < MAX_SCANS
    with pytest.raises(ImageError, match="more than 56 scans"):
        decode(many_scans(60, side, side))


def test_only_scans_of_the_first_image_count():
    plain = encoded(picture(), "JPEG", progressive=True, quality=95)
    scans = plain.count(b"\xff\xda")
    markers = b"\xff\xda" * 300
    comment = b"\xff\xfe" + struct.pack(">H", len(markers) + 2) + markers
    inside, behind, several = plain[:2] + comment + plain[2:], plain + markers, plain * 40
    for data in (inside, behind, several):
        assert count_scans(data, MAX_SCANS) == scans
        assert np.array_equal(np.asarray(decode(data)), np.asarray(decode(plain)))
    assert count_scans(b"\xff\xd8 no markers \xff\xff", MAX_SCANS) == 0


def test_sparse_file_is_refused_before_it_is_read(detector, tmp_path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.write(encoded(picture()))
        file.truncate(10 << 30)
    tracemalloc.start()
    record = detector.detect(path)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < HELD
    assert (record.sha256, record.error.kind) == (None, "too_large")
    assert "10,737,418,240 bytes are more than 1,073,741,824" in record.error.text
    os.truncate(path, MAX_FILE_BYTES)
    assert decode(path).size == SIZE
    os.truncate(path, MAX_FILE_BYTES + 1)
    with pytest.raises(ImageError, match="more than"):
        decode(path)


def test_the_pixel_budget_bounds_what_is_held_and_starves_nobody():
    budget, held, most = PixelBudget(100), [], []

    def take(pixels):
        with budget.hold(pixels):
            held.append(pixels)
            most.append(sum(held))
            time.sleep(0.002)
            held.remove(pixels)

    threads = [threading.Thread(target=take, args=(size,)) for size in [30, 40, 250, 10, 60, 30] * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert max(size for size in most if size < 250) <= 100
    assert all(total == 250 for total in most if total >= 250)


@pytest.mark.parametrize("failing", [False, True])
def test_the_budget_is_given_back(monkeypatch, failing):
    monkeypatch.setattr(decoding, "IN_FLIGHT", PixelBudget(10))
    data = encoded(picture())
    for _ in range(3):
        if failing:
            with pytest.raises(ImageError):
                decode(data[:-300])
        else:
            load_image(data, Preprocess())


DEEP = COLOUR.astype(np.uint16) * 257
DEEP_PLANES, PLANES = ([image[..., i].astype(kind).tobytes() for i in range(3)] for image, kind in (
    (DEEP, "<u2"), (COLOUR, np.uint8)))
GREY_TIFFS = {
    "12 bits": ([twelve_bits((GREY.astype(int) * 4095 + 127) // 255)], 12, 1, 1),
    "16 bits in which white is zero": ([(65535 - GREY.astype(np.uint16) * 257).astype("<u2").tobytes()], 16, 0, 1),
}


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("layout", GREY_TIFFS.values(), ids=GREY_TIFFS)
def test_deep_grey_tiffs(layout, compression):
    assert np.array_equal(grey_of(tiff(*layout, SIZE, compression=compression)), GREY)


@pytest.mark.parametrize(("planes", "bits", "compression"), [(DEEP_PLANES, 16, 8), (PLANES, 8, 1)])
def test_tiffs_with_separate_planes(planes, bits, compression):
    data = tiff(planes, bits, 2, 3, SIZE, planar=2, compression=compression)
    assert np.array_equal(np.asarray(decode(data)), COLOUR)


GREY_AND_ALPHA = [bytes(range(SIZE[0])) * SIZE[1], b"\xff" * SIZE[0] * SIZE[1]]


@pytest.mark.parametrize(("data", "message"), [
    (tiff(GREY_AND_ALPHA, 8, 1, 2, SIZE, planar=2, alpha=True), "alpha in a plane of its own"),
    (tiff(GREY_AND_ALPHA, 8, 1, 2, SIZE, planar=2, compression=8, alpha=True), "alpha in a plane of its own"),
    (tiff(DEEP_PLANES, 16, 2, 3, SIZE, planar=2), "uncompressed 16-bit TIFF with separate colour planes"),
    (tiff([GREY.astype("<u4").tobytes()], 32, 1, 1, SIZE), "signed or 32-bit"),
])
def test_tiffs_that_pillow_would_misread_are_refused(data, message):
    with pytest.raises(ImageError, match=message):
        decode(data)


def test_grey_multiplied_with_its_alpha():
    half = Image.merge("LA", (picture(*SIZE).convert("L"), Image.new("L", SIZE, 128)))
    found, expected = np.asarray(decode(half.convert("La"))), np.asarray(decode(half))
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_sixteen_bit_png_and_its_gamma_tag_which_is_not_applied():
    assert np.array_equal(np.asarray(decode(deep_png(DEEP, 2))), COLOUR)
    clear, gamma = (b"tRNS", struct.pack(">H", int(GREY[5, 5]) * 257)), (b"gAMA", struct.pack(">I", 100_000))
    for chunk, expected in ((clear, np.where(GREY[5, 5] == GREY, 255, GREY)), (gamma, GREY)):
        assert np.array_equal(grey_of(deep_png(GREY.astype(np.uint16) * 257, 0, chunk)), expected)


@pytest.mark.parametrize("suffix", [".j2k", ".jpf", ".jpx", ".mpo", ".pbm"])
def test_further_suffixes_of_folders(suffix, tmp_path):
    assert suffix in formats.IMAGE_SUFFIXES
    kinds = {".mpo": "MPO", ".pbm": "PPM"}
    path = tmp_path / f"image{suffix}"
    image = picture().convert("1") if suffix == ".pbm" else picture()
    path.write_bytes(encoded(image, kinds.get(suffix, "JPEG2000")))
    assert decode(path).size == SIZE


def test_heic_without_its_extra_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(decoding, "usable_formats", formats.usable_formats.__wrapped__)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(ImageError, match=r"<\d+ bytes>: a HEIC .*\[formats\]"):
        decode(struct.pack(">I", 24) + b"ftypheic" + b"\0" * 100)


def jpeg_xl(image, **options):
    """As libjxl writes it, by pillow-jxl-plugin 1.3."""
    pytest.importorskip("pillow_jxl")
    return encoded(image, "JXL", **options)


def test_jpeg_xl_without_its_plugin_names_it(monkeypatch, tmp_path):
    (tmp_path / "a.jxl").write_bytes(jpeg_xl(picture()))
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    monkeypatch.setattr(decoding, "usable_formats", formats.usable_formats.__wrapped__)
    monkeypatch.delitem(Image.OPEN, "JXL", raising=False)
    with pytest.raises(ImageError, match=r"a\.jxl: a JPEG XL image; .*pip install pillow-jxl-plugin") as caught:
        decode(tmp_path / "a.jxl")
    assert caught.value.kind == "unsupported"
    assert [item.name[-5:] for item in walk(str(tmp_path))] == ["a.jxl"]


@pytest.mark.parametrize("container", [False, True])
def test_jpeg_xl_is_read(container):
    data = jpeg_xl(picture(*SIZE), lossless=True, use_container=container)
    assert np.array_equal(np.asarray(decode(data)), COLOUR)
    for cut in (13, 40, len(data) // 2, len(data) - 1):
        with pytest.raises(ImageError, match=r"cannot be decoded|ends before its size"):
            decode(data[:cut])


def test_jpeg_xl_is_refused_by_its_size_before_its_plugin_decodes_it(monkeypatch):
    pytest.importorskip("pillow_jxl")
    monkeypatch.setattr("pillow_jxl.JpegXLImagePlugin.Decoder", None)
    for size in [(40, 40), (64, 32), (1920, 1080), (31, 1001), (5, 9999), (9999, 3)]:
        for container in (False, True):
            data = jpeg_xl(Image.new("L", size), use_container=container, effort=1)
            with pytest.raises(ImageError, match=f"{size[0]} x {size[1]} is more than"):
                decode(data, max_pixels=size[0] * size[1] - 1)


def test_jpeg_xl_that_holds_a_jpeg_is_turned_as_its_exif_says_and_another_is_not(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(*SIZE).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as jpeg:
        assert decode(jpeg_xl(jpeg, lossless_jpeg=True)).size == SIZE[::-1]
    assert decode(jpeg_xl(picture(*SIZE), exif=exif.tobytes())).size == SIZE  # its header's orientation counts alone


def scaled(**options):
    return Preprocess(decode="scaled", **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("size", "divisor"),
    [((1022, 2000), 1), ((1023, 1300), 2), ((2044, 2100), 2), ((2047, 2100), 4), ((4000, 3000), 4), ((4200, 4100), 8)],
)
def test_scaled_decoding_never_goes_below_twice_the_size_needed(size, divisor, kind, monkeypatch):
    data = encoded(Image.linear_gradient("L").resize(size).convert("RGB"), kind)
    seen = []
    real = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda image, *a, **k: seen.append(image.size) or real(image, *a, **k))
    loaded = load_image(data, scaled())
    assert (loaded.width, loaded.height) == size
    assert seen == [tuple(-(-side // divisor) for side in size)]
    assert min(seen[0]) >= 512


def test_scaled_decoding_comes_close_in_every_format():
    rng = np.random.default_rng(0)
    smooth = np.asarray(picture(160, 120).resize((2400, 1800), Image.Resampling.BICUBIC), float)
    image = Image.fromarray((smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8))
    jpeg, png = encoded(image, "JPEG", quality=95), encoded(image, "PNG", compress_level=1)
    full, *others = (load_image(*given).pixels.astype(int) for given in (
        (png, Preprocess()), (png, scaled()), (jpeg, scaled()), (image, scaled()), (np.asarray(image), scaled()),
    ))
    assert all(0 < np.abs(full - other).mean() < 1 for other in others)
    assert np.array_equal(others[0], others[2])
    assert np.array_equal(others[0], others[3])


def test_the_largest_jpegs_are_halved_as_often_as_other_formats(monkeypatch):
    seen = []
    real = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda image, *a, **k: seen.append(image.size) or real(image, *a, **k))
    image = Image.new("RGB", (1100, 1100), "teal")
    needed = scaled(resize_short=32, crop=32)
    for source in (image, encoded(image, "JPEG")):
        load_image(source, needed)
    assert seen == [(69, 69)] * 2


def test_scaled_tiles_lie_where_full_ones_do():
    image = DecodedImage(picture(2600, 1200), 2600, 1200)
    (crops, full), (halved, other) = (cut_tiles(image, one, 16) for one in (Preprocess(), scaled()))
    assert (full.places, full.squares, full.size) == (other.places, other.squares, other.size)
    assert 0 < np.abs(crops[1].pixels.astype(int) - halved[1].pixels).mean() < 3


def test_scaled_decoding_of_a_turned_photograph():
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load_image(encoded(picture(1300, 1100), "JPEG", exif=exif), scaled())
    assert (loaded.width, loaded.height) == (1100, 1300)
