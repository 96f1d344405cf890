"""onnxruntime backend: runs the fused graph, LCAS (Eq. 4) included, on its CPU, CUDA or TensorRT provider."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import EngineError, MissingDependencyError
from ...core.manifest import Manifest
from ..base import Engine, EngineOutput, checked_images
from ..cuda.driver import OUT_OF_MEMORY, Cuda
from ..file.graph import check_graph
from ..file.header import read_manifest
from ..file.integrity import check_content, check_external_data
from ..tensorrt.library import is_out_of_memory
from .binding import BoundSession
from .library import import_onnxruntime
from .session import CUDA, create_session, first_line


@dataclass(frozen=True)
class Port:
    """One input or output that a graph must have.

    Attributes:
        name: the tensor's name.
        dtype: as onnxruntime spells it, for example "tensor(float)".
        shape: None stands for a free dimension.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def check_ports(path: Path, session: Any, inputs: list[Port], outputs: list[Port]) -> None:
    """Check that a session has the expected inputs and outputs: names in order, types and shapes.

    Raises:
        EngineError: names the first difference.
    """
    for role, wanted, present in (("input", inputs, session.get_inputs()), ("output", outputs, session.get_outputs())):
        names = [port.name for port in present]
        if names != [port.name for port in wanted]:
            raise EngineError(
                f"{path}: its {role}s are {names}, expected {[p.name for p in wanted]}; export the engine again"
            )
        for port, actual in zip(wanted, present, strict=True):
            shape = list(actual.shape)
            fits = len(shape) == len(port.shape) and all(
                not isinstance(size, int) or size == want if want is not None else not isinstance(size, int)
                for size, want in zip(shape, port.shape, strict=True)
            )
            if actual.type != port.dtype or not fits:
                raise EngineError(
                    f"{path}: {role} {port.name!r} is {actual.type} {shape}, expected {port.dtype} "
                    f"{['any' if size is None else size for size in port.shape]}; export the engine again"
                )


def run_session(path: Path, session: Any, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Run a session.

    Args:
        path: the ONNX file, for the error message.
        session: an onnxruntime InferenceSession.
        outputs: names of the wanted outputs.
        feeds: input name -> array.

    Returns:
        The outputs in the order of their names.

    Raises:
        EngineError: onnxruntime fails.
    """
    try:
        return list(session.run(outputs, feeds))
    except Exception as error:
        raise inference_error(path, error) from None


def inference_error(path: Path, error: Exception) -> EngineError:
    """What a failed inference is reported as, with the fix where memory was short."""
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
    """A fused engine in onnxruntime. `infer` may run in several threads at once. Attributes: see `base.Engine`."""

    def __init__(
        self, path: Path, manifest: Manifest, session: Any, notes: tuple[str, ...], bound: BoundSession | None = None
    ) -> None:
        self.path, self.manifest, self.notes = path, manifest, notes
        self._session: Any = session
        self._bound = bound
        self.provider: str = session.get_providers()[0]

    def infer(self, images: np.ndarray) -> EngineOutput:
        """Score a batch.

        Args:
            images: uint8 [B, S, S, 3], RGB.

        Raises:
            EngineError: the engine is closed, or onnxruntime fails (out of memory, for instance).
            UsageError: another dtype or shape.
        """
        if self._session is None:
            raise EngineError(f"{self.path}: the engine is closed")
        images = checked_images(images, self.manifest)
        if self._bound is None:
            return EngineOutput(*run_session(self.path, self._session, ["logit", "stats", "lcas"], {"images": images}))
        try:
            return EngineOutput(*self._bound.run(images))
        except Exception as error:
            raise inference_error(self.path, error) from None

    def close(self) -> None:
        """Release the session. A second call does nothing."""
        if self._bound is not None:
            self._bound.close()
        self._session = self._bound = None


def open_engine(path: Path, device: str, threads: int | None) -> OnnxEngine:
    """Check and load a fused `.onnx` engine. Arguments and errors: see `load.load_engine`."""
    manifest = checked_manifest(path, "fused")
    opened = create_session(path, device, threads, graphs=True)
    session = opened.session
    size, n_patches = manifest.preprocess.crop, manifest.backbone.config.n_patches
    check_ports(
        path,
        session,
        [Port("images", "tensor(uint8)", (None, size, size, 3))],
        [
            Port("logit", "tensor(float)", (None,)),
            Port("stats", "tensor(float)", (None, 3)),
            Port("lcas", "tensor(float)", (None, n_patches)),
        ],
    )
    if session.get_providers()[0] != CUDA:
        return OnnxEngine(path, manifest, session, opened.notes)
    notes = opened.notes
    try:
        cuda = Cuda.load()
    except MissingDependencyError as error:
        cuda, notes = None, (*notes, f"copies to the GPU are slower than they could be: {error}")
    bound = BoundSession(import_onnxruntime(), session, size, n_patches, opened.graphs, cuda)
    return OnnxEngine(path, manifest, session, notes, bound)
