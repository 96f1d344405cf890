"""Manifests and records for the tests of reports, heatmaps, doctor and bench, without an engine."""

from __future__ import annotations

import numpy as np
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.manifest import (
    Backbone,
    BackboneConfig,
    HeadConfig,
    Manifest,
    Masks,
    MethodConfig,
    Preprocess,
    StatRange,
)
from cinemae.runtime.core.masks import draw_visible
from cinemae.runtime.scoring.likelihood_ratio import LikelihoodRatio
from cinemae.runtime.scoring.record import Failure, Reason, Record, Stats
from cinemae.runtime.scoring.verdict import Decision, run_of
from records import LIKELIHOOD

NASTY = [
    "</script><script>document.title='hacked'</script>.jpg", "<img src=x onerror=document.title='hacked'>.jpg",
    "\"'&amp;`${1}.jpg", "<!--<script>.jpg", "line\nbreak\u2028\u2029.jpg", "bytes\\xff.jpg", "lone\udcff.jpg",
    "{{info}}{{script}}{{chunks}}{{style}}.jpg", "a|b|c.jpg", "\u202egpj.exe",
]
"""File names that would leave their place in a page that did not escape them."""
COUNTS = {"ai": 60, "uncertain": 40, "real": 90, "error": 10}
"""Of each verdict in the report of `tests/runtime/report/conftest.py`."""


def manifest(config: BackboneConfig, **changes) -> Manifest:
    """A fused engine's manifest with a band and a heatmap range."""
    visible = draw_visible(config.n_patches, 2, "balanced", 0)
    values = {
        "name": "sample", "kind": "fused", "demonstration": True, "method": MethodConfig(), "head": HeadConfig(),
        "preprocess": Preprocess(resize_short=config.image_size + 8, crop=config.image_size),
        "backbone": Backbone(config=config, source="none", sha256="0" * 64, licence="Apache-2.0"),
        "masks": Masks(visible=tuple(tuple(int(i) for i in row) for row in visible)),
        "calibration": Calibration(ai_from=0.5, real_below=-0.5, false_alarm=0.05, miss=0.1, likelihood=LIKELIHOOD),
        "heatmap_range": StatRange(low=0.0, high=10.0),
    }
    return Manifest(**{**values, **changes})


def picture(seed: int, size: int = 64) -> np.ndarray:
    """uint8 [size, size, 3], coloured."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.integers(60, 200, 3) + rng.integers(-40, 40, (size, size, 3)), 0, 255).astype(np.uint8)


def failed(path: str, text: str, sample: Manifest) -> Record:
    """The record of an input without a score."""
    return Record(path=path, status="error", error=Failure("unsupported", text), run=run_of(sample))


def scored(path: str, logit: float, sample: Manifest, seed: int = 0, reasons: tuple[Reason, ...] = ()) -> Record:
    """A successful record with an LCAS map."""
    lcas = np.random.default_rng(seed).uniform(0, 10, sample.backbone.config.n_patches).astype(np.float32)
    return Record(
        path=path, status="ok", verdict=Decision.of(sample.calibration).verdict(logit), logit=logit,
        probability=sample.calibration.probability(logit),
        likelihood_ratio=LikelihoodRatio.of(sample.calibration, logit), stats=Stats(1.0, float(lcas.mean()), 0.1), reasons=reasons,
        width=640, height=480, run=run_of(sample), lcas=lcas,
    )
