"""Checkpoint to ONNX engine in the precision asked for, with its report and its parity rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..runtime.core.manifest import UNKNOWN_LICENCE
from ..runtime.engines.file.header import read_manifest
from ..train.fitting.checkpoint import LoadedCheckpoint, load_checkpoint
from ..train.fitting.checkpoint_folder import last_checkpoint
from .fused import export_fused, packed_graph, write_fused
from .graph.packed import PackedDetector
from .int8.recipe import Treatment, choose_recipe
from .int8.rewrite import quantise_for_cpu
from .parity import BATCHES, Row, eager_output, parity_images, parity_table
from .parts import export_parts
from .plan_check import Reference, write_reference
from .quality import export_report, labelled, range_batches, report_path
from .refusals import engine_licence, refuse_bundled, refuse_other_precision
from .request import Request


def export_checkpoint(request: Request, engine: Path, say: Callable[[str], None]) -> tuple[list[Row], Path]:
    """Write the engine, the parts and the report, and compare the files with eager PyTorch.

    Args:
        request: the command line.
        engine: the ONNX file to write.
        say: prints progress.

    Returns:
        The parity table, and the folder that was exported.

    Raises:
        UsageError: the name of the bundled engine or of an engine in another precision, no checkpoint, or data
            without labelled images.
        EngineError: an output of the engine is not finite on the report's images.
    """
    precision = request.precision
    refuse_bundled(engine)
    if not request.force:
        refuse_other_precision(engine, precision)
    # read first, so that unreadable data is an error before anything is written
    data = {folder: labelled(folder) for folder in (request.calibration, request.report) if folder is not None}
    folder = request.source or last_checkpoint()
    say(f"reading {folder}")
    loaded = load_checkpoint(folder, request.backbone)
    licence = engine_licence(loaded.manifest.backbone.licence, request.licence)
    if licence == UNKNOWN_LICENCE:
        say(f"the licence of the backbone {loaded.manifest.backbone.source} is unknown; --licence states the engine's")
    loaded = replace(loaded, manifest=loaded.manifest.model_copy(update={"licence": licence}))
    candidates = {f"fused {precision}": (engine, precision)}
    images = parity_images(max(BATCHES), loaded.detector.mae.config.image_size)
    say(f"writing {engine}")
    recipe: Mapping[str, Treatment] = {}
    if request.calibration is not None and precision == "int8":
        batches = range_batches(data[request.calibration], loaded.manifest.preprocess, train=True)
        images = np.concatenate(batches)[: max(BATCHES)]
        recipe = export_int8(loaded, engine, batches)
    else:
        export_fused(loaded.detector, loaded.manifest, engine, precision)
    if request.report is not None:
        say(f"measuring on {request.report} for {report_path(engine)}")
        say(export_report(engine, recipe, loaded, data[request.report], request.report_images))
    if request.parts:
        parts = engine.with_name(f"{engine.stem}-parts")
        say(f"writing {parts}/")
        export_parts(loaded.detector, loaded.manifest, parts)
        candidates["parts fp32"] = (parts, "fp32")
    say("comparing with eager PyTorch")
    expected = eager_output(loaded.detector, images)
    rows = parity_table(candidates, images, expected)
    if precision == "fp16":
        write_reference(engine, read_manifest(engine).content_sha256, Reference(images, expected))
    return rows, Path(folder)


def export_int8(loaded: LoadedCheckpoint, engine: Path, batches: Sequence[np.ndarray]) -> dict[str, Treatment]:
    """Write the INT8 engine, and return its recipe."""
    packed = PackedDetector(loaded.detector)
    recipe = choose_recipe(packed, batches)
    model = packed_graph(packed)
    quantise_for_cpu(model, packed, recipe)
    write_fused(model, loaded.manifest, engine, "int8")
    return recipe
