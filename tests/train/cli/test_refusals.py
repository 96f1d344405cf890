"""Wrong arguments end with code 2 and one line, before torch is imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from cinemae.runtime.core.errors import EngineError
from cinemae.runtime.engines.load import read_engine_manifest

COMMANDS = """
import contextlib, io, json, sys
from cinemae.export.cli import main as export
from cinemae.train.cli.train import main as train
HEAVY = {"torch", "torchvision", "timm", "onnx", "sklearn", "scipy", "matplotlib"}
for line in sys.stdin:
    command, *arguments = json.loads(line)
    sys.argv = [command, *arguments]
    shown, code = io.StringIO(), None
    with contextlib.redirect_stderr(shown):
        try:
            train(arguments) if command == "train" else export()
        except SystemExit as stop:
            code = stop.code
    print(json.dumps([code, shown.getvalue(), sorted(HEAVY & set(sys.modules))]))
"""
EXTRACT = ("train", "extract", "DATA", "--backbone", "WEIGHTS")
EVAL = ("train", "eval", "CHECKPOINT", "DATA")
STUDY = ("train", "controls", "DATA", "--backbone", "WEIGHTS")
WRONG = [
    (("train", "extract", "nowhere", "--backbone", "WEIGHTS"), "nowhere: no such file or folder"),
    (("train", "extract", "DATA", "--backbone", "gone.pth"), "gone.pth: no such file or folder"),
    (("train", "extract", "DATA", "--backbone", "CHECKPOINT"), "is a checkpoint, not backbone weights"),
    (("train", "extract", "DATA", "--backbone", "ENGINE"), "is an engine, not backbone weights"),
    ((*EXTRACT, "--layout", "flat"), "unknown layout 'flat'; there are: auto, genimage"),
    ((*EXTRACT, "--split", "dev"), "no split 'dev'; there are: train, val"),
    ((*EXTRACT, "-g", "gen_x"), "no generator gen_x; there are: gen_a, gen_b"),
    ((*EXTRACT, "--device", "gpu"), "unknown device 'gpu'"),
    ((*EXTRACT, "--precision", "fp8"), "unknown precision 'fp8'"),
    ((*EXTRACT, "--augment", "blurry"), "unknown augmentation 'blurry'"),
    ((*EXTRACT, "--mask-strategy", "even"), "--mask-strategy: Input should be 'balanced'"),
    ((*EXTRACT, "--decode", "half"), "--decode: Input should be 'full'"),
    *(((*EXTRACT, "--shard", text), "--shard must be i/n") for text in ("4/4", "1", "a/b", "0/0")),
    ((*EXTRACT, "--shard", "0/4", "--ray", "local"), "leave out --shard"),
    ((*EXTRACT, "--cache", "FILE"), "is a file; name a folder"),
    (("train", "fit"), "make a cache with: cinemae-train extract DATA --backbone WEIGHTS --cache runs/cache"),
    (("train", "extract", "DATA", "--backbone", "runs/backbone"), "runs/backbone: no such file or folder; give a .pth"),
    (("train", "fit", "--cache", "CACHE", "--out", "FILE"), "is a file; name a folder"),
    (("train", "fit", "--cache", "CACHE", "--out", "FILE/x"), "is a file; name a folder"),
    (("train", "fit", "--cache", "CACHE", "--out", "DATA"), "is no checkpoint; choose another --out"),
    (("train", "fit", "--cache", "CACHE", "--fusion", "none"), "--fusion: Input should be 'early_add'"),
    (("train", "fit", "--cache", "CACHE", "--head", "forest"), "--head 'forest': use paper or logistic"),
    (("train", "fit", "--cache", "CACHE", "--head", "logistic", "--lr", "1e-3", "--fusion", "late_add"),
     "a logistic head has no --fusion, --lr; leave them out"),
    (("train", "fit", "--cache", "CACHE", "--pixel-space", "lab"), "--pixel-space: Input should be 'unit'"),
    (("train", "fit", "--cache", "CACHE", "--miss", "1"), "must lie between 0 and 1"),
    (("train", "fit", "--cache", "CACHE", "--augment", "blurry"), "unknown augmentation 'blurry'"),
    (("train", "calibrate"), "no checkpoint given"),
    (("train", "calibrate", "DATA"), "is no checkpoint"),
    (("train", "calibrate", "CHECKPOINT", "--false-alarm", "0"), "must lie between 0 and 1"),
    (("train", "eval", "ENGINE", "DATA"), "is an engine, not a checkpoint: it goes to cinemae-run PHOTOS --engine"),
    (("train", "eval", "WEIGHTS", "DATA"), "not a checkpoint: it goes to cinemae-train extract DATA --backbone"),
    (("train", "eval", "CACHE", "DATA"), "is a feature cache, not a checkpoint: it goes to cinemae-train fit --cache"),
    (("train", "eval", "CHECKPOINT", "nowhere"), "nowhere: no such file or folder"),
    ((*EVAL, "--out", "FILE"), "is a file; name a folder"),
    ((*EVAL, "--augment", "blurry"), "unknown augmentation 'blurry'"),
    ((*EVAL, "--backbone", "gone.pth"), "gone.pth: no such file or folder"),
    (("train", "pretrain", "nowhere", "--out", "x"), "nowhere: no such folder"),
    (("train", "pretrain", "DATA", "--out", "FILE"), "is a file; name a folder"),
    (("train", "pretrain", "DATA", "--out", "x", "--backbone", "vit"), "unknown backbone 'vit'"),
    (("train", "pretrain", "DATA", "--out", "x", "--init", "gone.pth"), "gone.pth: no such file or folder"),
    (("train", "pretrain", "DATA", "--out", "x", "--precision", "fp16"), "--precision 'fp16': use auto, bf16, fp32"),
    (("train", "audit", "nowhere"), "nowhere: no such file or folder"),
    (("train", "audit", "DATA", "--out", "FILE"), "is a file; name a folder"),
    ((*STUDY, "--device", "gpu"), "unknown device 'gpu'"),
    ((*STUDY, "--train-on", "wukong"), "no training split of wukong"),
    ((*STUDY, "--report-only", "sdxl"), "no such generator"),
    (("train", "controls", "DATA", "--backbone", "gone.pth"), "gone.pth: no such file or folder"),
    (("train", "ablate", "DATA", "--backbone", "WEIGHTS", "--parts", "x"), "unknown ablation 'x'"),
    (("train", "analyze", "DATA", "--backbone", "WEIGHTS", "--parts", "x"), "unknown analysis 'x'"),
    (("train", "paper", "--data", "nowhere", "--out", "x"), "nowhere: no such file or folder"),
    (("export", "nowhere"), "nowhere is no checkpoint"),
    (("export",), "no checkpoint given"),
    (("export", "WEIGHTS"), "not a checkpoint: it goes to cinemae-train extract DATA --backbone"),
    (("export", "PLAN"), "is an engine, not a checkpoint: it goes to cinemae-run PHOTOS --engine"),
    (("export", "CHECKPOINT/head.safetensors"), "is a file of a checkpoint, not a checkpoint: it goes to"),
]


@pytest.fixture(scope="module")
def answers(image_tree, tiny_weights, tiny_engine, tiny_manifest, tmp_path_factory):
    """Exit code, stderr and heavy modules after each of `WRONG`, all in one process."""
    folder = tmp_path_factory.mktemp("refusals")
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "manifest.json").write_text(tiny_manifest.to_json())
    (folder / "checkpoint" / "head.safetensors").write_bytes(b"")
    (folder / "cache" / "0").mkdir(parents=True)
    (folder / "cache" / "0" / "cache.json").write_text("{}")
    (folder / "file").write_text("x")
    (folder / "x.plan").write_bytes(b"x")
    words = {"DATA": image_tree, "WEIGHTS": tiny_weights, "ENGINE": tiny_engine, "CHECKPOINT": folder / "checkpoint",
             "CACHE": folder / "cache", "FILE": folder / "file", "PLAN": folder / "x.plan"}

    def named(argument: str) -> str:
        first, slash, rest = argument.partition("/")
        return f"{words[first]}{slash}{rest}" if first in words else argument

    lines = "".join(json.dumps([named(argument) for argument in arguments]) + "\n" for arguments, _ in WRONG)
    done = subprocess.run([sys.executable, "-c", COMMANDS], input=lines, capture_output=True, text=True, cwd=folder,
                          check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(zip((arguments for arguments, _ in WRONG), map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=lambda one: " ".join(one) if isinstance(one, tuple) else "")
def test_wrong_arguments_are_refused_before_torch_is_imported(answers, arguments, words):
    code, shown, heavy = answers[arguments]
    assert words in shown
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert (code, heavy) == (2, [])


@pytest.mark.parametrize(
    ("given", "goes_to"),
    [
        ("checkpoint", "cinemae-export {}"),
        ("cache", "cinemae-train fit --cache {}; cinemae-export makes an engine"),
        ("backbone.pth", "cinemae-train extract DATA --backbone {}; cinemae-export makes an engine"),
    ],
)
def test_an_engine_that_is_none_says_what_it_is(given, goes_to, tmp_path):
    for name in ("checkpoint/manifest.json", "checkpoint/head.safetensors", "cache/cache.json", "backbone.pth"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    path = tmp_path / given
    with pytest.raises(EngineError, match="not an engine: it goes to") as refused:
        read_engine_manifest(path)
    assert str(refused.value).endswith(f"it goes to {goes_to.format(path)}")
