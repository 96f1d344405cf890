"""The site's preprocessing, run by node, equals the runtime's pixel for pixel."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from cinemae.runtime.core.golden import golden_image
from cinemae.runtime.core.manifest import Preprocess
from cinemae.runtime.engines.load import bundled_path
from cinemae.runtime.images.decode import decode
from cinemae.runtime.images.preprocess import resize_crop
from pictures import encoded, picture
from PIL import Image

SIZES = 300


def sizes() -> list[tuple[int, int]]:
    """Random ones, and those where something changes: no resize, one axis alone, tall, wide, a line, a pixel."""
    rng = np.random.default_rng(0)
    ordinary = [tuple(int(n) for n in rng.integers(1, 700, 2)) for _ in range(SIZES)]
    special = [(256, 256), (224, 224), (255, 257), (1, 1), (1, 3000), (3000, 1), (3, 4097), (4096, 256), (256, 4097),
               (100, 200), (100, 201), (100, 205), (200, 100), (1600, 100), (1601, 100), (100, 1601)]
    return ordinary + special


@pytest.mark.slow
def test_resize_and_crop_are_pillows_on_hundreds_of_sizes(run_js, data, tmp_path):
    rng = np.random.default_rng(1)
    cases, expected = [], []
    for index, (width, height) in enumerate(sizes()):
        image = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
        if index % 3 == 0:
            image = np.where(image > 127, 255, 0).astype(np.uint8)  # overshoot at every edge
        short, crop = ((256, 224), (72, 64))[index % 2]
        image.tofile(tmp_path / f"{index}.rgba")
        decode = "scaled" if index % 5 < 2 else "full"
        cases.append({"width": width, "height": height, "resize_short": short, "crop": crop, "decode": decode})
        rgb = Image.fromarray(np.ascontiguousarray(image[:, :, :3]))
        expected.append(resize_crop(rgb, Preprocess(resize_short=short, crop=crop, decode=decode)))
    run_js('import { prepare } from "./prepare.js";', """
        input.cases.forEach((item, index) => {
          const pixels = read(`${index}.rgba`), { width, height } = item;
          const strip = (y, count) => pixels.subarray(4 * y * width, 4 * (y + count) * width);
          write(`${index}.rgb`, prepare({ width, height, strip }, item, input.limits).pixels);
        });""", {"cases": cases, "limits": data["limits"]})
    scaled = [min(case["width"], case["height"]) for case in cases if case["decode"] == "scaled" and case["crop"] == 64]
    assert sum(short >= 287 for short in scaled) > 9, "halved once"
    assert sum(short >= 575 for short in scaled) > 0, "halved twice"
    for index, (want, size) in enumerate(zip(expected, sizes(), strict=True)):
        found = np.fromfile(tmp_path / f"{index}.rgb", np.uint8).reshape(want.shape)
        assert np.array_equal(found, want), size


def raw_png(width: int, height: int, depth: int, colour: int, interlaced: bool, key: bytes | None, seed: int) -> bytes:
    """A PNG of random bytes: any bytes are a valid image, if each line starts with a filter number."""
    rng = np.random.default_rng(seed)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    lines = []
    for left, top, right, down in steps if interlaced else [(0, 0, 1, 1)]:
        wide, tall = -(-(width - left) // right), -(-(height - top) // down)
        for _ in range(tall if wide > 0 else 0):
            line = rng.integers(0, 256, (wide * bits + 7) // 8, dtype=np.uint8)
            lines.append(bytes([int(rng.integers(0, 5))]) + line.tobytes())

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    palette = chunk(b"PLTE", rng.integers(0, 256, 3 * 2**depth, dtype=np.uint8).tobytes()) if colour == 3 else b""
    transparent = chunk(b"tRNS", key) if key is not None else b""
    packed, half = zlib.compress(b"".join(lines)), 50
    content = chunk(b"IDAT", packed[:half]) + chunk(b"IDAT", packed[half:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + transparent + content + chunk(b"IEND", b"")


def every_png() -> dict[str, bytes]:
    """Each colour type, depth and interlacing, with and without a transparent colour; EXIF; and Pillow's own files."""
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    found = {}
    for colour, kinds in depths.items():
        for depth in kinds:
            for interlaced in (False, True):
                keys: list[bytes | None] = [None]
                if colour == 0:
                    keys += [struct.pack(">H", value) for value in (0, 1, 2, 51, 85, 2**depth - 1)]
                if colour == 2:
                    keys.append(struct.pack(">HHH", 3, 2, 1))
                if colour == 3:
                    keys += [bytes([0]), bytes([255, 0, 7][: 2**depth])]
                for key in keys:
                    name = f"colour {colour}, {depth} bit, interlaced {interlaced}, key {key}"
                    found[name] = raw_png(37, 29, depth, colour, interlaced, key, len(found))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        found[f"orientation {orientation}"] = encoded(picture(40, 30), exif=exif)
    deep = Image.fromarray(np.arange(290, 310, dtype=np.uint16).reshape(4, 5))
    found["16 bit gray, one value transparent"] = encoded(deep, transparency=300)
    found["tiny interlaced"] = raw_png(3, 2, 8, 6, True, None, 9)
    return found


def test_png_is_decoded_as_pillow_does(run_js, tmp_path):
    images = every_png()
    for index, content in enumerate(images.values()):
        (tmp_path / f"{index}.png").write_bytes(content)
    found = run_js('import { decode } from "./decode.js";', """
        const sizes = [];
        for (let index = 0; index < input; index++) {
          const { width, height, strip } = await decode(read(`${index}.png`), 1e6);
          write(`${index}.rgba`, strip(0, height));
          sizes.push([width, height]);
        }
        return sizes;""", len(images))
    for index, (name, content) in enumerate(images.items()):
        want = np.asarray(decode(content))
        width, height = found[index]
        assert (height, width) == want.shape[:2], name
        pixels = np.fromfile(tmp_path / f"{index}.rgba", np.uint8).reshape(height, width, 4)
        assert np.array_equal(pixels[:, :, :3], want), name
        assert (pixels[:, :, 3] == 255).all(), name


@pytest.mark.parametrize(("change", "kind"), [
    (lambda png: png[: len(png) // 2], "damaged"), (lambda png: png[:20], "damaged"),
    (lambda png: png.replace(b"IHDR", b"JHDR"), "damaged"),
    (lambda png: b"no image at all", "unsupported"), (lambda png: b"", "unsupported"),
])
def test_damaged_files_are_refused(run_js, tmp_path, change, kind):
    (tmp_path / "bad").write_bytes(change(encoded(picture(300, 300))))
    tried = 'return await decode(read("bad"), 1e6).then(() => null, (error) => error.kind);'
    assert run_js('import { decode } from "./decode.js";', tried, None) == kind


def test_a_cut_jpeg_is_refused_although_its_thumbnail_ends(run_js, tmp_path):
    thumbnail = encoded(picture(40, 30), "JPEG")
    whole = encoded(picture(300, 300), "JPEG", exif=b"Exif\0\0" + Image.Exif().tobytes() + thumbnail)
    (tmp_path / "bad").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "good").write_bytes(whole)
    found = run_js('import { decode } from "./decode.js";', """
        const tried = [];
        for (const name of ["bad", "good"]) tried.push(await decode(read(name), 1e6).catch((error) => error.message));
        return tried;""", None)
    assert "truncated" in found[0]
    assert "does not decode" in found[1]  # node has no createImageBitmap, so it went on to the browser's part


def test_alpha_lies_over_white_as_in_pillow(run_js, tmp_path):
    alpha, value = np.mgrid[0:256, 0:256].astype(np.uint8)
    image = Image.fromarray(np.stack([value, 255 - value, value, alpha], axis=2))
    np.asarray(image).tofile(tmp_path / "in.rgba")
    run_js('import { overWhite } from "./decode.js";', 'write("out.rgba", overWhite(read("in.rgba")));', None)
    want = np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image))
    assert np.array_equal(np.fromfile(tmp_path / "out.rgba", np.uint8).reshape(want.shape), want)


def test_the_golden_image_has_the_same_bytes(run_js, tmp_path):
    imports = 'import { goldenImage } from "./golden.js";'
    run_js(imports, 'for (const size of [64, 224]) write(`${size}`, goldenImage(size));', None)
    for size in (64, 224):
        assert (tmp_path / str(size)).read_bytes() == golden_image(size).tobytes()


def test_an_engine_is_known_by_its_hash(run_js, data, tmp_path):
    (tmp_path / "engine").write_bytes(bundled_path().read_bytes())
    found = run_js('import { sha256 } from "./sha256.js";', 'return await sha256(read("engine"));', None)
    assert found == data["engine"]["sha256"]
