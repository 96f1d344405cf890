"""`--global-encoder`: from images to a checkpoint whose f_global is another encoder's, its evaluation and engines."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from cinemae.export.refusals import engine_licence
from cinemae.runtime.cli.doctor import app as doctor
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.manifest import Backbone
from cinemae.runtime.images.preprocess import load_image
from cinemae.train.cli.train import main
from cinemae.train.evaluation.evaluate import score
from cinemae.train.features import extractor
from cinemae.train.features.cache import open_cache
from cinemae.train.fitting.checkpoint import load_checkpoint
from cinemae.train.fitting.checkpoint_folder import read_manifest
from commands import outcome
from timm_files import PLAIN, REGISTERS, ROTARY, write_timm

LOGIT_TOLERANCE = 1e-4
"""Cached against fresh: the same float32 operations in other batch sizes."""


def run(capsys, *arguments, code=0) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    assert (stop.value.code or 0) == code, captured
    return captured.out + captured.err


@pytest.mark.slow
@pytest.mark.parametrize("name", [PLAIN, REGISTERS, ROTARY])
def test_from_images_to_checked_engines(name, tmp_path, monkeypatch, image_tree, tiny_weights, capsys, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extractor, "encode_global", lambda *_: pytest.fail("the unmasked pass, which nobody reads"))
    source = write_timm(Path("w.safetensors"), name, "cc-by-nc-4.0")
    extract = ("extract", image_tree, "--backbone", tiny_weights, "--global-encoder", source, "-q")
    assert "48 images computed" in run(capsys, *extract, "--split", "train")
    assert "0 images computed, 48 cached before" in run(capsys, *extract, "--split", "train")
    run(capsys, "fit", "-q", "--epochs", 2, "--held-out", 0.3)
    assert "gen_b" in run(capsys, "eval", "last", image_tree, "-q")
    note = read_manifest("runs/checkpoint").training.note
    assert re.search(r"f_global alone [01]\.\d+, of LCAS alone [01]\.\d+: \w+ carries the result", note)
    loaded, cache = load_checkpoint("runs/checkpoint"), open_cache(Path("runs/cache"), split="train")
    beside = loaded.manifest.backbone.global_encoder
    assert (beside.source, beside.name, loaded.manifest.licence) == (source, name, "unknown AND CC-BY-NC-4.0")
    scored = score(loaded, cache, np.arange(5))
    images = np.stack([load_image(row.path, loaded.manifest.preprocess).pixels for row in cache.rows[:5]])
    with torch.inference_mode():
        fresh = loaded.detector(torch.from_numpy(images)).logit.numpy()
    np.testing.assert_allclose(scored.logits, fresh, rtol=LOGIT_TOLERANCE, atol=LOGIT_TOLERANCE)
    for precision in ([], ["--fp16", "--no-tensorrt", "--report", image_tree]):
        done = command("runs/checkpoint", *precision, "--force")
        assert done.code == 0, done.err
        assert done.out.count("ok\n") == 3
    engine = Path("models/cinemae.onnx")
    for shown in ((), ("--card",)):
        code, out, _ = outcome(capsys, doctor, "--engine", engine, "--device", "cpu", *shown)
        assert (code, source in out, str(tiny_weights) in out) == (0, True, True), out
    for option in (("--int8", "--calibration", "x"), ("--parts",), ("--web", "site")):
        done = command("runs/checkpoint", *option)
        assert f"{option[0]}: was not measured with a global encoder, here {source}" in done.err
        assert done.code == 2
    assert "--web: was not measured" in command(engine, "--web", "site").err
    assert "the engine embeds a backbone under" in command("runs/checkpoint", "--licence", "MIT").err


def test_what_does_not_go_together_is_one_sentence(tmp_path, monkeypatch, image_tree, tiny_weights, capsys):
    monkeypatch.chdir(tmp_path)
    source = write_timm(Path("w.safetensors"), PLAIN)
    extract = ("extract", image_tree, "--backbone", tiny_weights, "-q", "--split", "train", "--global-encoder")
    assert "--f-global chooses a feature" in run(capsys, *extract, source, "--f-global", "mean", code=2)
    assert "has no model 'vit_of_tomorrow'" in run(capsys, *extract, "vit_of_tomorrow", code=3)
    run(capsys, *extract, source)
    assert "leave out --embed-backbone" in run(capsys, "fit", "-q", "--embed-backbone", code=2)


@pytest.mark.parametrize(("first", "second", "joint"), [
    ("MIT", "apache-2.0", "MIT AND apache-2.0"), ("MIT", "dinov3-license", "dinov3-license"),
    ("CC-BY-NC-4.0", "apache-2.0", "CC-BY-NC-4.0"), ("CC-BY-NC-4.0", "CC-BY-NC-4.0", "CC-BY-NC-4.0"),
    ("CC-BY-NC-4.0", "dinov3-license", "CC-BY-NC-4.0 AND dinov3-license"), ("MIT", "unknown", "unknown"),
])
def test_the_licence_of_both_is_the_stricter(first, second, joint, tiny_config):
    encoder = {"source": "a", "name": "a", "sha256": "1" * 64, "licence": second, "dim": 1, "size": 1,
               "mean": (0, 0, 0), "std": (1, 1, 1)}
    both = Backbone(config=tiny_config, source="s", sha256="0" * 64, licence=first, global_encoder=encoder)
    assert both.joint_licence == joint
    if "CC-BY-NC" in joint:
        with pytest.raises(UsageError, match="embeds a backbone under"):
            engine_licence(both.joint_licence, "MIT")
    assert engine_licence(both.joint_licence, None) == joint
