"""A Triton Inference Server model repository around an engine: versions, config.pbtxt, dynamic batching.

For a plan, CUDA graphs are captured for the batch sizes of `buckets`; a batch in between is padded to the next one.
Triton loads a plan only with the TensorRT version that built it, so config.pbtxt names that version.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..runtime.core.files import write_text
from ..runtime.core.manifest import Manifest
from ..runtime.engines.cuda.buckets import buckets, profiles

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
    ".onnx": ('backend: "onnxruntime"\ndefault_model_filename: "model.onnx"', "model.onnx", "KIND_AUTO"),
    ".plan": ('platform: "tensorrt_plan"\ndefault_model_filename: "model.plan"', "model.plan", "KIND_GPU"),
}


def write_repository(
    engine: Path, manifest: Manifest, digest: str, folder: Path, name: str,
    batch: tuple[int, int, int] = (1, 8, 32), tensorrt: str = "",
) -> Path:
    """Put `engine` (.onnx or .plan) into the repository `folder` as model `name`, version 1; returns its folder.

    Args:
        engine: the file to serve.
        manifest: of the engine.
        folder: the model repository; made if missing.
        name: of the model.
        digest: content hash of the ONNX engine or SHA-256 of the plan, recorded as a parameter.
        batch: smallest, preferred and largest batch; a plan's own profile.
        tensorrt: version that built the plan; "" for an ONNX engine.
    """
    backend, file, kind = BACKENDS[engine.suffix]
    model = folder / name
    version = model / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(engine, version / file)
    for data in manifest.external_data if engine.suffix == ".onnx" else ():
        shutil.copyfile(engine.with_name(data), version / data)
    sizes = sorted({batch[1], batch[2]})
    count = len(profiles(batch)) if engine.suffix == ".plan" else 1
    used = f" profile: {json.dumps([str(i) for i in range(count)])}" if count > 1 else ""  # else Triton uses the first
    config = CONFIG.format(
        name=name, backend=backend, largest=batch[2], size=manifest.preprocess.crop,
        patches=manifest.backbone.config.n_patches, preferred=", ".join(map(str, sizes)), delay=QUEUE_MICROSECONDS,
        kind=kind, digest=digest, profiles=used,
    )
    if engine.suffix == ".plan":
        config += GRAPHS.format(specs=graph_specs(batch, manifest.preprocess.crop), tensorrt=tensorrt)
    write_text(model / "config.pbtxt", config)
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
