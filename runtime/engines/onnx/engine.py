"""onnxruntime backend: runs the fused graph, LCAS (Eq. 4) included, on its CPU, CUDA or TensorRT provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import EngineError, MissingDependencyError
from ...core.manifest import Manifest
from ...core.text import first_line
from ..base import OUTPUTS, Engine, EngineOutput, checked_images, output_shapes
from ..cuda.driver import OUT_OF_MEMORY, Cuda
from ..file.graph import check_graph
from ..file.header import read_manifest
from ..file.integrity import check_content, check_external_data
from ..tensorrt.library import is_out_of_memory
from .binding import BoundSession
from .library import import_onnxruntime
from .session import CUDA, create_session

Ports = Mapping[str, tuple[str, tuple[int | None, ...]]]
"""Inputs or outputs that a graph must have, in order: name -> type as onnxruntime spells it, shape; None: free size."""


def check_ports(path: Path, session: Any, inputs: Ports, outputs: Ports) -> None:
    """Check that a session has the expected inputs and outputs: names in order, types and shapes.

    Raises:
        EngineError: names the first difference.
    """
    for role, wanted, present in (("input", inputs, session.get_inputs()), ("output", outputs, session.get_outputs())):
        names = [port.name for port in present]
        if names != list(wanted):
            raise EngineError(f"{path}: its {role}s are {names}, expected {list(wanted)}; export the engine again")
        for actual, (kind, sizes) in zip(present, wanted.values(), strict=True):
            shape = list(actual.shape)
            fits = len(shape) == len(sizes) and all(
                not isinstance(size, int) or size == want if want is not None else not isinstance(size, int)
                for size, want in zip(shape, sizes, strict=True)
            )
            if actual.type != kind or not fits:
                raise EngineError(
                    f"{path}: {role} {actual.name!r} is {actual.type} {shape}, expected {kind} "
                    f"{['any' if size is None else size for size in sizes]}; export the engine again"
                )


def run_session(path: Path, session: Any, outputs: Sequence[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Run a session of the ONNX file `path` on `feeds`, input name -> array; the outputs in the order of their names.

    Raises:
        EngineError: onnxruntime fails.
    """
    try:
        return list(session.run(list(outputs), feeds))
    except Exception as error:
        raise inference_error(path, error) from None


def inference_error(path: Path, error: Exception) -> EngineError:
    """The error for a failed inference, with the fix where memory was short."""
    words = first_line(error)
    return EngineError(f"{path}: inference failed: {words}" + (f"; {OUT_OF_MEMORY}" if is_out_of_memory(words) else ""))


def checked_manifest(path: Path, kind: str) -> Manifest:
    """Check an ONNX file (kind, content hash, external weights, graph) and return its manifest.

    Args:
        path: the ONNX file.
        kind: the manifest's required `kind`, for example "fused".

    Raises:
        EngineError: the file is damaged, changed, foreign or of another kind.
    """
    manifest = read_manifest(path)
    if manifest.kind != kind:
        hint = "; give the folder that holds the three parts" if manifest.kind in ("encoder", "decoder", "head") else ""
        raise EngineError(f"{path}: is of kind {manifest.kind!r}, expected {kind!r}{hint}")
    check_content(path)
    check_external_data(path, manifest)
    check_graph(path, manifest)
    return manifest


class OnnxEngine(Engine):
    """A fused engine in onnxruntime. `infer` may run in several threads at once."""

    def __init__(
        self, path: Path, manifest: Manifest, session: Any, notes: tuple[str, ...], bound: BoundSession | None = None
    ) -> None:
        self.path, self.manifest, self.notes = path, manifest, notes
        self._session: Any = session
        self._bound = bound
        self.provider: str = session.get_providers()[0]

    def infer(self, images: np.ndarray) -> EngineOutput:
        """See `Engine.infer`."""
        session, bound = self._session, self._bound
        if session is None:
            raise EngineError(f"{self.path}: the engine is closed")
        images = checked_images(images, self.manifest)
        if bound is None:
            return EngineOutput(*run_session(self.path, session, OUTPUTS, {"images": images}))
        try:
            return bound.run(images)
        except Exception as error:
            raise inference_error(self.path, error) from None

    def close(self) -> None:
        """Release the session. A second call does nothing."""
        bound, self._session, self._bound = self._bound, None, None
        if bound is not None:
            bound.close()


def open_engine(path: Path, device: str, threads: int | None) -> OnnxEngine:
    """Check and load a fused `.onnx` engine. Arguments and errors: see `load.load_engine`."""
    manifest = checked_manifest(path, "fused")
    opened = create_session(path, device, threads, graphs=True)
    session = opened.session
    size = manifest.preprocess.crop
    outputs: Ports = {name: ("tensor(float)", (None, *shape)) for name, shape in output_shapes(manifest).items()}
    check_ports(path, session, {"images": ("tensor(uint8)", (None, size, size, 3))}, outputs)
    if session.get_providers()[0] != CUDA:
        return OnnxEngine(path, manifest, session, opened.notes)
    notes = opened.notes
    try:
        cuda = Cuda.load()
    except MissingDependencyError as error:
        cuda, notes = None, (*notes, f"copies to the GPU are slower than they could be: {error}")
    return OnnxEngine(path, manifest, session, notes, BoundSession(import_onnxruntime(), opened, manifest, cuda))
