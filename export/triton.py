"""A Triton Inference Server model repository around an engine: versions, config.pbtxt, dynamic batching.

For a plan, CUDA graphs are captured for the batch sizes of `buckets`; a batch in between is padded to the next one.
Triton loads a plan only with the TensorRT version that built it, so config.pbtxt names that version.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..runtime.core.files import write_text
from ..runtime.engines.cuda.buckets import buckets, profiles
from ..runtime.engines.file.header import read_manifest
from ..runtime.engines.file.integrity import check_content
from ..runtime.engines.tensorrt.sidecar import read_sidecar

QUEUE_MICROSECONDS = 2000
"""How long Triton waits for a batch to fill: about the time of one image on a data-centre GPU."""

GRAPHS = """\
optimization {{ cuda {{ graphs: true
{specs}
}} }}
# built by TensorRT {tensorrt}: use a Triton container with the same version (nvidia.com: Triton support matrix)
"""

CONFIG = """\
name: "{name}"
{backend}
default_model_filename: "{file}"
max_batch_size: {largest}
input [
  {{ name: "images" data_type: TYPE_UINT8 format: FORMAT_NONE dims: [ {size}, {size}, 3 ] }}
]
output [
  {{ name: "logit" data_type: TYPE_FP32 dims: [ 1 ] reshape: {{ shape: [ ] }} }},
  {{ name: "stats" data_type: TYPE_FP32 dims: [ 3 ] }},
  {{ name: "lcas" data_type: TYPE_FP32 dims: [ {patches} ] }}
]
dynamic_batching {{ preferred_batch_size: [ {preferred} ] max_queue_delay_microseconds: {delay} }}
instance_group [ {{ count: 1 kind: {kind}{profiles} }} ]
parameters: {{ key: "cinemae.content_sha256" value: {{ string_value: "{digest}" }} }}
"""

BACKENDS = {
    ".onnx": {"backend": 'backend: "onnxruntime"', "file": "model.onnx", "kind": "KIND_AUTO"},
    ".plan": {"backend": 'platform: "tensorrt_plan"', "file": "model.plan", "kind": "KIND_GPU"},
}


def write_repository(engine: Path, folder: Path, name: str, batch: tuple[int, int, int] = (1, 8, 32)) -> Path:
    """Put an engine into a model repository.

    Args:
        engine: the fused ONNX engine to serve, or a plan with its sidecar beside it.
        folder: the model repository; made if missing.
        name: of the model, which gets version 1.
        batch: smallest, preferred and largest batch of an ONNX engine; a plan has its own.

    Returns:
        The model's folder.
    """
    model, backend = folder / name, BACKENDS[engine.suffix]
    version = model / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(engine, version / backend["file"])
    if engine.suffix == ".plan":
        sidecar = read_sidecar(engine)
        manifest, digest, batch = sidecar.manifest, sidecar.plan_sha256, sidecar.batch
        graphs = GRAPHS.format(specs=graph_specs(batch, manifest.preprocess.crop), tensorrt=sidecar.tensorrt)
        count = len(profiles(batch))
    else:
        manifest, digest, graphs, count = read_manifest(engine), check_content(engine), "", 1
        for data in manifest.external_data:
            shutil.copyfile(engine.with_name(data), version / data)
    used = f" profile: {json.dumps([str(i) for i in range(count)])}" if count > 1 else ""  # else Triton uses the first
    config = CONFIG.format(
        name=name, **backend, largest=batch[2], size=manifest.preprocess.crop,
        patches=manifest.backbone.config.n_patches, preferred=", ".join(map(str, sorted(set(batch[1:])))),
        delay=QUEUE_MICROSECONDS, digest=digest, profiles=used,
    )
    write_text(model / "config.pbtxt", config + graphs)
    return model


def graph_specs(batch: tuple[int, int, int], size: int) -> str:
    """One `graph_spec` for every bucket, valid down to the batch after the bucket below it.

    Both bounds must name the input's shape: Triton's TensorRT backend takes graphs without it for exact sizes only.
    """
    shape = f'input {{ key: "images" value {{ dim: [ {size}, {size}, 3 ] }} }}'
    lines, lower = [], batch[0]
    for upper in buckets(batch[0], batch[2]):
        bound = f"graph_lower_bound {{ batch_size: {lower} {shape} }}"
        lines.append(f"  graph_spec {{ batch_size: {upper} {shape} {bound} }}")
        lower = upper + 1
    return "\n".join(lines)
