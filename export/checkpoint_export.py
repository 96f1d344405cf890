"""Checkpoint to ONNX engine in the precision asked for, with its report and its parity rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..runtime.core.errors import CinemaeError, UsageError
from ..runtime.core.manifest import UNKNOWN_LICENCE
from ..runtime.engines.file.header import read_manifest
from ..train.data.sample import Sample
from ..train.fitting.checkpoint import LoadedCheckpoint, load_checkpoint
from ..train.fitting.checkpoint_folder import last_checkpoint
from .fused import export_fused, packed_graph, write_fused
from .graph.packed import PackedDetector
from .graph.tracing import HALF_QDQ_OPSET
from .int8.recipe import Treatment, choose_recipe
from .int8.rewrite import quantise_for_cpu, quantise_for_tensorrt
from .licence import engine_licence
from .output_names import refuse_bundled
from .parity import BATCHES, Row, eager_output, format_table, parity_images, parity_table, require
from .parts import export_parts
from .plan_check import Reference, write_reference
from .precision_report import export_report
from .quality import RANGE_IMAGES, labelled, load_batches, spread
from .request import Request


@dataclass(frozen=True)
class Exported:
    """Files written and their comparison with eager PyTorch.

    Attributes:
        engine: the fused ONNX file.
        tensorrt_source: the ONNX file a plan is built from.
        table: the parity table as text.
        rows: the same as data.
        checkpoint: the folder that was exported.
    """

    engine: Path
    tensorrt_source: Path
    table: str
    rows: list[Row]
    checkpoint: Path

    def require(self) -> None:
        """Raise ParityError if a comparison is beyond its tolerance."""
        require(self.rows)


def export_checkpoint(request: Request, name: str, say: Callable[[str], None]) -> Exported:
    """Write the engine, the parts and the report, and compare the files with eager PyTorch.

    Args:
        request: the command line.
        name: file name without suffix.
        say: prints progress.

    Raises:
        UsageError: the name of the bundled engine or of an engine in another precision, no checkpoint, or data
            without labelled images.
        EngineError: an output of the engine is not finite on the report's images.
    """
    engine = request.out / f"{name}.onnx"
    refuse_bundled(engine)
    if not request.force:
        refuse_other_precision(engine, request.precision)
        if request.qdq:
            refuse_other_precision(qdq_path(engine), "int8")
    # read first, so that unreadable data is an error before anything is written
    data = {folder: labelled(folder, None) for folder in (request.range_data, request.report) if folder is not None}
    folder = request.source or last_checkpoint()
    say(f"reading {folder}")
    loaded = load_checkpoint(folder, request.backbone)
    licence = engine_licence(loaded.manifest, request.licence)
    if licence == UNKNOWN_LICENCE:
        say(f"the licence of the backbone {loaded.manifest.backbone.source} is unknown; --licence states the engine's")
    loaded = replace(loaded, manifest=loaded.manifest.model_copy(update={"licence": licence}))
    candidates: dict[str, tuple[Path, str]] = {}
    source = engine
    images = parity_images(max(BATCHES), loaded.detector.mae.config.image_size)
    say(f"writing {engine}")
    recipe: Mapping[str, Treatment] = {}
    if request.precision == "int8":
        assert request.range_data is not None
        batches = range_batches(data[request.range_data], loaded)
        images = np.concatenate(batches)[: max(BATCHES)]
        recipe, qdq = export_int8(loaded, engine, batches, request.qdq)
        if qdq is not None:
            candidates["int8 QDQ"] = (qdq, "int8")
            source = qdq
    else:
        export_fused(loaded.detector, loaded.manifest, engine, request.precision)
    candidates = {f"fused {request.precision}": (engine, request.precision), **candidates}
    if request.report is not None:
        report = request.out / f"{name}.report.md"
        say(f"measuring on {request.report} for {report}")
        say(export_report(request, data[request.report], loaded, engine, recipe, report))
    if request.parts:
        parts = request.out / f"{name}-parts"
        say(f"writing {parts}/")
        export_parts(loaded.detector, loaded.manifest, parts)
        candidates["parts fp32"] = (parts, "fp32")
    say("comparing with eager PyTorch")
    expected = eager_output(loaded.detector, images)
    rows = parity_table(candidates, images, expected)
    if source != engine or request.precision == "fp16":
        write_reference(source, read_manifest(source).content_sha256, Reference(images, expected))
    table = format_table(rows, {name: precision for name, (_, precision) in candidates.items()})
    return Exported(engine, source, table, rows, Path(folder))


def qdq_path(engine: Path) -> Path:
    """`NAME.onnx` -> `NAME-qdq.onnx`, the INT8 graph for TensorRT."""
    return engine.with_name(f"{engine.stem}-qdq.onnx")


def refuse_other_precision(engine: Path, precision: str) -> None:
    """Raise UsageError if `engine` exists in another precision: overwriting it would change scores without a word."""
    try:
        found = read_manifest(engine).precision
    except CinemaeError:
        return  # nothing there, or nothing that can be used
    if found != precision:
        name = engine.stem.removesuffix("-qdq") if precision == "int8" else engine.stem
        raise UsageError(
            f"{engine} holds a {found} engine: add --name {name}-{precision}, or --force to overwrite it"
        )


def range_batches(samples: Sequence[Sample], loaded: LoadedCheckpoint) -> list[np.ndarray]:
    """Images for the activation ranges, uint8 [B, S, S, 3] each, evenly from the training split if the data has one."""
    training = [item for item in samples if item.split == "train"] or samples
    return [pixels for _, pixels in load_batches(spread(training, RANGE_IMAGES), loaded.manifest.preprocess)]


def export_int8(
    loaded: LoadedCheckpoint, engine: Path, batches: Sequence[np.ndarray], qdq: bool
) -> tuple[dict[str, Treatment], Path | None]:
    """Write the INT8 engine, and beside it NAME-qdq.onnx for TensorRT if asked for."""
    packed = PackedDetector(loaded.detector)
    recipe = choose_recipe(packed, batches)
    model = packed_graph(packed)
    quantise_for_cpu(model, packed, recipe)
    write_fused(model, loaded.manifest, engine, "int8")
    if not qdq:
        return recipe, None
    path = qdq_path(engine)
    model = packed_graph(packed.to_half(), HALF_QDQ_OPSET)
    quantise_for_tensorrt(model, packed, recipe)
    write_fused(model, loaded.manifest, path, "int8")
    return recipe, path
