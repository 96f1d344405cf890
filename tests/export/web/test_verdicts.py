"""The site's verdicts, likelihood ratios and reasons, run by node, equal the runtime's word for word."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from cinemae.runtime.core.calibration import Calibration, Likelihood
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.load import bundled_path
from cinemae.runtime.images.preprocess import load_image
from cinemae.runtime.scoring.likelihood_ratio import LikelihoodRatio
from cinemae.runtime.scoring.reasons import image_reasons, reason, stat_reasons, visible_contrast
from cinemae.runtime.scoring.record import Stats
from cinemae.runtime.scoring.verdict import Decision
from pictures import picture
from PIL import Image

CONTRAST = 1e-6
"""The runtime sums in float32, the page in float64."""


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
            exact = [getattr(wanted, name) for name in numbers]
            assert [ratio[name] for name in numbers] == pytest.approx(exact, rel=1e-12)


def test_shares_are_written_as_python_writes_them(run_js):
    rng = np.random.default_rng(4)
    ties = [0.0625, 0.625, 0.125, 1.25, 1.75, 2.25, 9.75, 12.5, 13.5, 22.5, 10.5, 24.5, 8.0, 9.96e-5, 9.94e-5]
    shares = [*ties, *(25 * 10 ** rng.uniform(-8, 0, 2000)).tolist()]
    found = run_js('import { twoDigits } from "./verdict.js";', "return input.map(twoDigits);", shares)
    assert found == [f"{share:.2g}" for share in shares]


def test_reasons_are_the_runtimes(run_js, data, tmp_path):
    manifest = read_manifest(bundled_path())
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
