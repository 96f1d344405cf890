"""The audit on fixture trees: it flags formats that give the class away, duplicates and damage, and no more."""

from __future__ import annotations

import json
import logging
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.manifest import MethodConfig
from cinemae.train.audit import survey
from cinemae.train.audit.audit import ALL, Audit, audit
from cinemae.train.audit.file_facts import file_facts
from cinemae.train.audit.lowlevel import blockiness, entropy, high_frequency_ratio, spectrum, total_variation
from cinemae.train.cli.train import main
from cinemae.train.data import transforms
from cinemae.train.data.sample import Sample
from cinemae.train.data.samples import read_samples, thin
from cinemae.train.data.transforms import balanced_bytes, reencode
from cinemae.train.features.cache_spec import CacheSpec
from cinemae.train.features.extract import extract
from PIL import Image

N = 30
CHANCE_MARGIN = 0.25
"""60 images: an accuracy at chance has a standard error of 0.065; four of them."""


def texture(seed: int, side: int = 64) -> Image.Image:
    """Smoothed noise, another for every seed: the classes do not differ in what is shown."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def saved(image: Image.Image, path: Path, **options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def tree(root: Path, fake: tuple[str, dict[str, int]], real: tuple[str, dict[str, int]]) -> list[Sample]:
    for i in range(N):
        for label, (suffix, options) in (("ai", fake), ("nature", real)):
            saved(texture(2 * i + (label == "ai")), root / "BigGAN" / "val" / label / f"{i}{suffix}", **options)
    return read_samples(root)


@pytest.fixture(scope="module")
def leaky(tmp_path_factory) -> list[Sample]:
    return tree(tmp_path_factory.mktemp("leaky"), (".png", {}), (".JPEG", {"quality": 80}))


@pytest.fixture(scope="module")
def leaky_audit(leaky) -> Audit:
    return audit(leaky, quiet=True)


def test_flags_png_fakes_and_jpeg_reals(leaky_audit):
    assert leaky_audit.probes["metadata", ALL].balanced_accuracy == 1.0
    assert any("container" in text and "can cheat" in text and "100.0%" in text for text in leaky_audit.warnings)
    assert "PNG 100 %" in leaky_audit.markdown()
    assert "80 (80 to 80)" in leaky_audit.markdown()


def test_balanced_protocol_takes_the_metadata_away(leaky):
    result = audit(leaky, balanced=True, quiet=True)
    assert abs(result.probes["metadata", ALL].balanced_accuracy - 0.5) < CHANCE_MARGIN
    assert not any("container" in text for text in result.warnings)


def test_the_balanced_audit_reads_what_a_balanced_extraction_reads(
    tmp_path, monkeypatch, tiny_detector, tiny_manifest
):
    path, made = saved(texture(0), tmp_path / "0.png"), []
    for module in (survey, transforms):
        monkeypatch.setattr(module, "balanced_bytes", lambda *given: made.append(balanced_bytes(*given)) or made[-1])
    sample = Sample(str(path), 1, "g", "train")
    survey.survey_file(sample, balanced=True)
    spec = CacheSpec.create(tiny_manifest.backbone, tiny_manifest.preprocess, MethodConfig(), augment="balanced")
    extract([sample], lambda: tiny_detector.mae, spec, tmp_path / "cache", quiet=True)
    assert len(made) == 2
    assert made[0] == made[1]


def test_like_files_are_not_flagged(tmp_path):
    result = audit(tree(tmp_path, (".jpg", {"quality": 85}), (".jpg", {"quality": 85})), quiet=True)
    assert not result.warnings
    assert all(abs(probe.balanced_accuracy - 0.5) < CHANCE_MARGIN for probe in result.probes.values())


def test_jpeg_probe_sees_an_old_compression_inside_a_png(tmp_path):
    for i in range(N):
        saved(texture(2 * i + 1), tmp_path / "sdxl" / "fake" / f"{i}.png")
        saved(reencode(texture(2 * i), 60), tmp_path / "sdxl" / "real" / f"{i}.png")
    probes = audit(read_samples(tmp_path), quiet=True).probes
    assert probes["JPEG traces", ALL].balanced_accuracy > 0.9
    assert abs(probes["metadata", ALL].balanced_accuracy - 0.5) < CHANCE_MARGIN


def test_duplicates_across_classes_and_splits(tmp_path):
    base = tmp_path / "wukong"
    for seed, (i, split, label) in enumerate(product(range(4), ("train", "val"), ("ai", "nature"))):
        saved(texture(seed), base / split / label / f"{i}.png")
    saved(texture(77), base / "train" / "ai" / "a.png")
    saved(texture(77), base / "train" / "nature" / "b.bmp")  # other bytes, same pixels
    (base / "val" / "nature" / "copy.png").write_bytes((base / "train" / "nature" / "0.png").read_bytes())
    result = audit(read_samples(tmp_path), quiet=True)
    assert any("1 pictures are in both classes" in text for text in result.warnings)
    assert any("1 pictures are in the training split and in another" in text for text in result.warnings)
    table = next(t for t in result.tables if t.name == "duplicates")
    assert [(row[0], row[2]) for row in table.rows] == [("classes", "pixels"), ("train and test", "bytes")]


def test_damaged_files_are_counted_named_and_left_out(tmp_path, caplog):
    samples = tree(tmp_path, (".png", {}), (".png", {}))
    Path(samples[0].path).write_bytes(b"not an image")
    Path(samples[1].path).write_bytes(Path(samples[2].path).read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        result = audit(samples, quiet=True)
    assert sorted(path for path, _ in result.skipped) == sorted(s.path for s in samples[:2])
    assert samples[0].path in caplog.text
    assert any("2 of 60 files are not readable" in text for text in result.warnings)
    with pytest.raises(UsageError, match="not one of the files"):
        audit(samples[:1], quiet=True)


def test_the_command_prints_tables_warns_on_stderr_and_writes_reports(leaky, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["audit", leaky[0].path.partition("/BigGAN")[0], "--out", str(tmp_path), "--quiet"])
    assert not stop.value.code
    shown = capsys.readouterr()
    assert "JPEG 100 %" in shown.out
    assert "|" not in shown.out, "tables are aligned, not Markdown's source"
    assert "warning: A classifier that sees only container" in shown.err
    record = json.loads((tmp_path / "audit.json").read_text())
    assert {table["name"] for table in record["tables"]} == {"counts", "containers", "sizes", "duplicates", "probes"}
    assert (tmp_path / "audit.md").read_text().startswith("## Audit")
    assert (tmp_path / "probes.csv").read_text().splitlines()[0] == "probe,generator,images,balanced accuracy,AUC"


def test_thin_is_even_and_keeps_all_at_zero(leaky):
    assert thin(leaky, 0) == leaky
    few = thin(leaky, 7)
    assert len(few) == 14
    assert {s.label for s in few} == {0, 1}
    with pytest.raises(UsageError, match="--limit"):
        thin(leaky, -1)


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 90, 95, 99])
def test_quality_estimate_is_exact_for_libjpeg(tmp_path, quality):
    path = saved(texture(0), tmp_path / "x.jpg", quality=quality)
    facts = file_facts(str(path), path.read_bytes(), Image.open(path).convert("RGB"))
    assert facts.quality == quality
    assert (facts.container, facts.subsampling) == ("JPEG", "4:2:0")


def test_low_level_statistics_mean_what_they_say():
    rng = np.random.default_rng(0)
    flat, noise = np.full((64, 64), 100.0), rng.uniform(0, 255, (64, 64))
    smooth = np.outer(np.hanning(64), np.hanning(64)) * 255
    assert entropy(flat) == 0
    assert 7 < entropy(noise) <= 8
    assert high_frequency_ratio(smooth) < 0.01 < 0.5 < high_frequency_ratio(noise)
    assert total_variation(flat) == 0 < total_variation(smooth) < total_variation(noise)
    assert spectrum(noise).shape == (32,)
    assert spectrum(smooth)[0] - spectrum(smooth)[-1] > spectrum(noise)[0] - spectrum(noise)[-1]
    stepped = smooth.copy()
    stepped[:, 8::16] += 40
    assert blockiness(stepped)[7] > blockiness(smooth)[7] + 1
    assert blockiness(np.ones((3, 5))).shape == blockiness(noise).shape == (79,)


def test_spectra_count_the_whole_plane_and_do_not_depend_on_the_orientation():
    """A transposed image has the transposed spectrum: the same power on every ring."""
    gray = np.random.default_rng(1).uniform(0, 255, (48, 64)).cumsum(axis=0)
    np.testing.assert_allclose(spectrum(gray), spectrum(gray.T), rtol=1e-9, atol=1e-9)
    assert high_frequency_ratio(gray) == pytest.approx(high_frequency_ratio(gray.T), rel=1e-9)
    gray = np.random.default_rng(2).uniform(0, 255, (31, 40))
    window = np.outer(np.hanning(31), np.hanning(40))
    power = np.abs(np.fft.fft2((gray - gray.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(31)[:, None], np.fft.fftfreq(40)[None])
    expected = power[radius > 0.25].sum() / power.sum()
    assert high_frequency_ratio(gray) == pytest.approx(expected, rel=1e-6)


@pytest.mark.data
@pytest.mark.slow
def test_bench_metadata_is_near_chance(data_root):
    result = audit(read_samples(data_root / "bench"), limit=15, quiet=True)
    metadata = result.probes["metadata", ALL]
    assert metadata.balanced_accuracy < 0.5 + 4 * metadata.error
