"""Sidecars of plans made to harm are refused in one line before TensorRT sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cinemae.runtime.engines.load import read_engine_manifest
from cinemae.runtime.engines.tensorrt.sidecar import MAX_SIDECAR_BYTES, PlanSidecar, read_sidecar, sidecar_path
from refusals import refusal

ZEROS = "0" * 64


@pytest.fixture
def sidecar(tiny_engine, tmp_path):
    """A valid sidecar as plain values, beside an empty plan."""
    (tmp_path / "tiny.plan").write_bytes(b"plan")
    manifest = json.loads(read_engine_manifest(tiny_engine).to_json())
    return {
        "manifest": manifest, "tensorrt": "10.3.0",
        "gpu": "L4", "platform": "linux x86_64", "compute_capability": "8.9", "batch": [1, 8, 32],
        "plan_sha256": ZEROS, "source": "tiny.onnx", "source_sha256": ZEROS,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"source": ""}, {"source": "../tiny.onnx"}, {"source": "/tiny.onnx"}, {"source": "."}, {"source": "a\\b"},
        {"source": "a\0"}, {"source_external": {"../w": ZEROS}}, {"source_external": {"": ZEROS}},
        {"source_external": {"w": "no hash"}},
        {"tensorrt": "9" * 5000 + ".1"}, {"compute_capability": "8." + "9" * 5000},
        {"batch": [0, 1, 2]}, {"batch": [4, 2, 8]}, {"batch": [1, 8, 10**9]}, {"batch": [-1, -1, -1]},
        {"x\n\x1b[31m": 1}, {"gpu": 1}, {"platform": "linux\n"},
    ],
)
def test_sidecars_without_sense(sidecar, tmp_path, change):
    plan = tmp_path / "tiny.plan"
    sidecar_path(plan).write_text(json.dumps(sidecar))
    assert read_sidecar(plan).source == "tiny.onnx"
    sidecar_path(plan).write_text(json.dumps(sidecar | change))
    assert "build the plan again" in refusal(plan)


def test_a_large_sidecar_is_not_read(sidecar, tmp_path):
    plan = tmp_path / "tiny.plan"
    sidecar_path(plan).write_text(json.dumps(sidecar) + " " * MAX_SIDECAR_BYTES)
    assert "too large" in refusal(plan)
    if Path("/dev/zero").exists():
        sidecar_path(plan).unlink()
        sidecar_path(plan).symlink_to("/dev/zero")
        refusal(plan)
    assert PlanSidecar.model_validate(sidecar).batch == (1, 8, 32)
