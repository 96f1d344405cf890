"""A report of 200 records that the tests of its content and those in a browser share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cinemae.runtime.core.manifest import BackboneConfig
from cinemae.runtime.report.html import ReportWriter
from cinemae.runtime.scoring.reasons import reason
from report_samples import failed, manifest, picture, scored


@pytest.fixture(scope="module")
def sample():
    return manifest(BackboneConfig(image_size=64, encoder_dim=8, encoder_depth=1, encoder_heads=1, decoder_dim=8,
                                   decoder_depth=1, decoder_heads=1))


@pytest.fixture(scope="module")
def page(sample, tmp_path_factory) -> Path:
    """200 records in a known order, 10 of them errors, one with never-masked patches."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    with ReportWriter(path, sample, provider="CPUExecutionProvider", title="Week <47>") as report:
        for i in range(200):
            if i % 20 == 19:
                report.add(failed(f"in/bad {i}.jpg", "not an image", sample))
                continue
            logit = {0: -2.0, 1: 0.1, 2: 3.0}[0 if i % 20 < 9 else 1 if i % 20 < 13 else 2] + i / 1000
            record = scored(f"in/{i:03}.jpg", logit, sample, i, (reason("grey"),) if i == 7 else ())
            if i == 0:
                lcas = np.full(16, 10, np.float32)
                lcas[0], lcas[5] = 0, np.nan
                record = replace(record, lcas=lcas)
            report.add(record, picture(i))
    return path
