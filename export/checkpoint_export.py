"""Checkpoint to ONNX engine in the precision asked for, with its calibration, report and parity rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..runtime.core.calibration import Calibration
from ..runtime.core.errors import UsageError
from ..runtime.core.manifest import UNKNOWN_LICENCE
from ..runtime.engines.base import Engine
from ..runtime.engines.file.header import read_manifest
from ..train.calibration.calibrate import calibrate
from ..train.calibration.rates import Rates
from ..train.calibration.scores import Scores
from ..train.data.sample import Sample
from ..train.fitting.checkpoint import LoadedCheckpoint, load_checkpoint
from ..train.fitting.checkpoint_folder import last_checkpoint
from .fused import export_fused, packed_graph, write_fused
from .graph.packed import PackedDetector
from .int8.recipe import Treatment, choose_recipe
from .int8.rewrite import quantise_for_cpu
from .parity import BATCHES, Row, eager_output, parity_images, parity_table
from .parts import export_parts
from .plan_check import Reference, write_reference
from .quality import export_report, labelled, load_batches, range_batches, report_path
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
    backbone = loaded.manifest.backbone
    licence = engine_licence(backbone.joint_licence, request.licence)
    if UNKNOWN_LICENCE in licence.split(" AND "):
        for one in (backbone, backbone.global_encoder):
            if one and one.licence == UNKNOWN_LICENCE:
                say(f"the licence of the backbone {one.source} is unknown; --licence states the engine's")
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
        where = request.calibration if precision == "bf16" else None
        calibrated = None if where is None else partial(own_calibration, data[where], where)
        export_fused(loaded.detector, loaded.manifest, engine, precision, calibrated)
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
    if precision in ("fp16", "bf16"):
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


def own_calibration(samples: Sequence[Sample], where: str, engine: Engine) -> Calibration:
    """Calibration of an engine whose precision moves its scores: fitted on these, at the rates of its manifest.

    Args:
        samples: labelled; those of the train split are left out, because the head has seen them.
        where: the data, in words.
        engine: loaded.

    Raises:
        UsageError: a class is missing outside of the train split, or the scores rank real above AI.
    """
    earlier = engine.manifest.calibration
    held_out = [item for item in samples if item.split != "train"]
    if not held_out:
        raise UsageError(f"{where}: all images are of the train split; calibration needs images the head has not seen")
    batches = load_batches(held_out, engine.manifest.preprocess)
    found = [(part, engine.infer(images).logit) for part, images in batches]
    used, logits = [item for part, _ in found for item in part], np.concatenate([each for _, each in found])
    scores = Scores(logits, np.array([item.label for item in used]), np.array([item.generator for item in used]))
    given = {"false_alarm": earlier.false_alarm, "miss": earlier.miss}
    rates = Rates(**{name: rate for name, rate in given.items() if rate is not None})
    words = f"{len(used)} images outside of the train split of {where}, by this engine in {engine.manifest.precision}"
    return calibrate(scores, words, rates, earlier.lowest_quality)
