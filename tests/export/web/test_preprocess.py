"""The site's preprocessing and verdicts, run by node, equal the runtime's: pixel for pixel, word for word."""

from __future__ import annotations

import json
import struct
import subprocess
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from cinemae.export.web.site import site_data
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.golden import golden_image
from cinemae.runtime.core.likelihood import Likelihood
from cinemae.runtime.core.manifest import Preprocess
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.load import bundled_path
from cinemae.runtime.images.decode import decode
from cinemae.runtime.images.preprocess import load_image, resize_crop
from cinemae.runtime.scoring.likelihood_ratio import LikelihoodRatio
from cinemae.runtime.scoring.reasons import image_reasons, reason, stat_reasons, visible_contrast
from cinemae.runtime.scoring.record import Stats
from cinemae.runtime.scoring.verdict import Decision
from pictures import encoded, picture
from PIL import Image
from web_site import node

STATIC = Path(__file__).parents[3] / "export" / "web" / "static"
CONTRAST = 1e-6
"""The runtime sums in float32, the page in float64."""
SIZES = 300


@pytest.fixture
def run_js(tmp_path):
    """Run lines of JavaScript in node; `input` holds a JSON value, `read(name)` and `write(name, bytes)` files."""

    def run(imports: str, code: str, value: object) -> object:
        (tmp_path / "input.json").write_text(json.dumps(value))
        script = f"""
        import {{ readFileSync, writeFileSync }} from "node:fs";
        {imports.replace('"./', f'"file://{STATIC}/')}
        const read = (name) => new Uint8Array(readFileSync({json.dumps(str(tmp_path))} + "/" + name));
        const write = (name, bytes) => writeFileSync({json.dumps(str(tmp_path))} + "/" + name, bytes);
        const input = JSON.parse(new TextDecoder().decode(read("input.json")));
        const answer = await (async () => {{ {code} }})();
        console.log(JSON.stringify(answer ?? null));
        """
        command = [node(), "--input-type=module", "-e", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def manifest():
    return read_manifest(bundled_path())


@pytest.fixture(scope="module")
def data(manifest):
    return site_data(bundled_path(), manifest, "ort/")


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
        cases.append({"width": width, "height": height, "resize_short": short, "crop": crop})
        rgb = Image.fromarray(np.ascontiguousarray(image[:, :, :3]))
        expected.append(resize_crop(rgb, Preprocess(resize_short=short, crop=crop)))
    run_js('import { prepare } from "./prepare.js";', """
        input.cases.forEach((item, index) => {
          const pixels = read(`${index}.rgba`), { width, height } = item;
          const strip = (y, count) => pixels.subarray(4 * y * width, 4 * (y + count) * width);
          write(`${index}.rgb`, prepare({ width, height, strip }, item, input.limits).pixels);
        });""", {"cases": cases, "limits": data["limits"]})
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


def likelihood(rng: np.random.Generator) -> Likelihood:
    """Of random knots and random monotone columns."""
    logits, ratio = np.sort(rng.normal(0, 2, 9)), np.sort(rng.normal(0, rng.uniform(0.1, 4), 9))
    low, high = (np.sort(ratio + sign * rng.uniform(0, 1, 9)) for sign in (-1, 1))
    shares = (np.round(np.sort(rng.uniform(0, 1, 9))[::-1], 3) for _ in range(2))
    columns = (logits, ratio, np.minimum(low, ratio), np.maximum(high, ratio), *shares)
    return Likelihood(**dict(zip(Likelihood.model_fields, (tuple(one.tolist()) for one in columns), strict=True)))


def calibrations(count: int) -> list[Calibration]:
    """With two thresholds, without a band, without one of the thresholds; with and without a likelihood ratio."""
    rng = np.random.default_rng(2)
    found = []
    for index in range(count):
        low, high = sorted(rng.normal(0, 2, 2).tolist()) if index % 4 else [0.5, 0.5]
        stored = {"likelihood": likelihood(rng) if index % 7 else None}
        stored |= {"ai_from": high if index % 3 else None, "real_below": low if index % 5 else None}
        stored |= {"false_alarm": 0.05, "miss": 0.05} if index % 8 else {}
        found.append(Calibration(**stored))
    return found


def test_verdicts_and_probabilities_are_the_runtimes(run_js, data):
    rng = np.random.default_rng(3)
    cases, expected = [], []
    for index, calibration in enumerate(calibrations(2000)):
        cuts = [cut for cut in (calibration.ai_from, calibration.real_below) if cut is not None]
        near = [value for cut in cuts for value in (cut, np.nextafter(cut, np.inf), np.nextafter(cut, -np.inf))]
        logits = [*map(float, near), float(rng.normal(0, 3)), float(rng.normal(0, 400))]
        logit = logits[index % len(logits)]
        cases.append([calibration.model_dump(mode="json"), logit])
        decision = Decision.of(calibration)
        verdict = decision.verdict(logit)
        codes = ["norate"] if decision.uncalibrated else ["band"] if verdict == "uncertain" else []
        ratio = LikelihoodRatio.of(calibration, logit)
        expected.append([verdict, [asdict(reason(code)) for code in codes], calibration.probability(logit), ratio])
    found = run_js('import { decide, likelihoodRatio, probability } from "./verdict.js";', """
        return input.cases.map(([calibration, logit]) => [...decide(logit, calibration, input.texts),
          probability(calibration, logit), likelihoodRatio(calibration, logit, input.scale)]);
        """, {"cases": cases, "texts": data["texts"], "scale": data["ratioWords"]})
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert np.allclose([row[2] for row in found], [row[2] for row in expected], rtol=1e-12, atol=0)
    for (*_, ratio), (*_, wanted) in zip(found, expected, strict=True):
        assert (ratio is None) == (wanted is None)
        if wanted:
            assert (ratio["support"], ratio["text"]) == (wanted.support, wanted.text)
            numbers = ("value", "low", "high", "real_share", "ai_share")
            assert [ratio[name] for name in numbers] == pytest.approx([getattr(wanted, name) for name in numbers], rel=1e-12)


def test_shares_are_written_as_python_writes_them(run_js):
    rng = np.random.default_rng(4)
    ties = [0.0625, 0.625, 0.125, 1.25, 1.75, 2.25, 9.75, 12.5, 13.5, 22.5, 10.5, 24.5, 8.0, 9.96e-5, 9.94e-5]
    shares = [*ties, *(25 * 10 ** rng.uniform(-8, 0, 2000)).tolist()]
    found = run_js('import { twoDigits } from "./verdict.js";', "return input.map(twoDigits);", shares)
    assert found == [f"{share:.2g}" for share in shares]


def test_reasons_are_the_runtimes(run_js, manifest, data, tmp_path):
    gray, flat = picture(300, 280).convert("L"), Image.new("RGB", (300, 300), (90, 120, 80))
    images = [picture(300, 280), picture(60, 300), picture(200, 240), gray, flat, picture(300, 3000), picture(40, 40),
              picture(80, 490)]  # the last: 12.5 %, between two even digits
    stats = [Stats(s1, s2, s3) for s1 in (1.0, 20.0, 50.0) for s2 in (-5.0, 1.0, 30.0) for s3 in (0.5, 9.0)]
    loaded = [load_image(image, manifest.preprocess) for image in images]
    for index, image in enumerate(loaded):
        image.pixels.tofile(tmp_path / str(index))
    sent = [{"width": image.width, "height": image.height, "grayscale": image.grayscale} for image in loaded]
    found = run_js('import { imageReasons, statReasons, visibleContrast } from "./verdict.js";', """
        const { manifest, site } = input, { crop } = manifest.preprocess, patch = manifest.backbone.config.patch_size;
        const images = input.images.map((image, index) => ({ ...image, pixels: read(`${index}`) }));
        return [
          images.map((image) => imageReasons(image, manifest, site.limits, site.texts)),
          input.stats.map((stats) => statReasons(stats, manifest.stat_ranges, site.texts)),
          images.map(({ pixels }) => visibleContrast(pixels, crop, patch, manifest.masks.visible)),
        ];""", {
            "manifest": json.loads(manifest.to_json()), "site": data, "images": sent,
            "stats": [vars(row) for row in stats],
        })
    visible, patch = manifest.masks.array(), manifest.backbone.config.patch_size
    assert found[0] == [list(map(asdict, image_reasons(image, manifest, visible))) for image in loaded]
    assert found[1] == [list(map(asdict, stat_reasons(row, manifest))) for row in stats]
    contrast = [visible_contrast(image.pixels, visible, patch) for image in loaded]
    assert np.allclose(found[2], contrast, atol=CONTRAST, rtol=0)
    codes = {one["code"] for row in found[0] + found[1] for one in row}
    assert codes == {"tiny", "small", "crop", "grey", "flat", "s1", "s2-", "s2+", "s3+"}
    assert asdict(reason("crop", 12.5)) in [one for row in found[0] for one in row]
