"""Write an ONNX model as an engine file: manifest and content hash inside, atomically.

Above protobuf's 2 GiB the weights go to a `.data` file beside it. onnx_ir writes such files as well, but without their
SHA-256 (a second pass over gigabytes) and not tensor by tensor out of the model, so `move_weights` stays our own.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
from onnx import TensorProto

from ..runtime.core.files import atomic_path
from ..runtime.core.manifest import METADATA_KEY, Manifest
from ..runtime.engines.file.integrity import seal
from .refusals import refuse_bundled

EXTERNAL_ABOVE = 1_900_000_000
"""Bytes of weights from which they go into a file of their own: protobuf refuses messages of 2 GiB, graph included."""

EXTERNAL_MINIMUM = 1024
"""Smaller tensors stay in the graph, as shape arguments must."""

ALIGNMENT = 4096
"""Offsets in the weight file are page-aligned, so that runtimes can map tensors."""


def write_engine(
    model: onnx.ModelProto, manifest: Manifest, path: str | Path,
    measured: Callable[[Path], Mapping[str, object]] | None = None,
    external_above: int = EXTERNAL_ABOVE,
) -> Manifest:
    """Write `model` with `manifest` inside to `path` and return the manifest as stored (hashes filled in).

    Everything is made in a hidden folder beside `path` and moved into place at the end. Above `external_above` bytes
    the weights go to `path` + ".data" (moved first), and `model` loses them.

    Args:
        model: the graph with its weights.
        manifest: its hashes, external data and golden logit are replaced.
        path: the engine file.
        measured: fields of the manifest (golden, calibration) from the finished engine at a temporary path.
        external_above: bytes of weights from which they go to a file of their own.

    Raises:
        UsageError: the name of the bundled engine.
    """
    path = Path(path)
    refuse_bundled(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(f"{path.name}.data")
    with tempfile.TemporaryDirectory(prefix=".cinemae-export-", dir=path.parent) as folder:
        scratch = Path(folder) / path.name
        external = {}
        if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > external_above:
            external[data.name] = move_weights(model, scratch.with_name(data.name))
        stored = write_graph(model, manifest.model_copy(update={"external_data": external}), scratch)
        if measured is not None:
            stored = write_graph(model, stored.model_copy(update=measured(scratch)), scratch)
        if external:
            scratch.with_name(data.name).replace(data)
        scratch.replace(path)
    if not external:
        data.unlink(missing_ok=True)
    return stored


def write_graph(model: onnx.ModelProto, manifest: Manifest, path: Path) -> Manifest:
    """Write the ONNX file alone, with `manifest` inside, sealed; returns the manifest with its hash."""
    stored = manifest.model_copy(update={"content_sha256": "0" * 64})
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=stored.to_json())
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        digest = seal(temporary)
    return stored.model_copy(update={"content_sha256": digest})


def move_weights(model: onnx.ModelProto, data: Path) -> str:
    """Move the large initializers of `model` into `data`, one after the other, and return the file's SHA-256."""
    digest = hashlib.sha256()
    with atomic_path(data) as temporary, temporary.open("wb") as file:
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) < EXTERNAL_MINIMUM:
                continue
            padding = b"\0" * (-file.tell() % ALIGNMENT)
            file.write(padding)
            place = {"location": data.name, "offset": str(file.tell()), "length": str(len(tensor.raw_data))}
            file.write(tensor.raw_data)
            digest.update(padding)
            digest.update(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in place.items():
                tensor.external_data.add(key=key, value=value)
        file.flush()
    return digest.hexdigest()
