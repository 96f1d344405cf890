"""What the backbone inside the bundled engine makes of labelled images, beside low-level features of the same files."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
from cinemae.runtime.core.errors import ImageError
from cinemae.runtime.core.files import atomic_path, file_sha256
from cinemae.runtime.core.progress import Progress
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from cinemae.runtime.images.decode import decode
from cinemae.runtime.images.preprocess import resize_crop
from cinemae.train.audit.lowlevel import blockiness, luminance, spectrum
from cinemae.train.data.sample import Sample
from cinemae.train.data.transforms import TRANSFORMS
from PIL import Image

F_GLOBAL = "/encoder/ReduceMean_output_0"
"""Tensor of the bundled graph: the mean of the patch tokens."""
BATCH = 16
Columns = dict[str, np.ndarray]
"""Values of every image by name."""


def measured(engine: Path, samples: Sequence[Sample], augment: str) -> Columns:
    """f_global, statistics, logits, low-level features and SHA-256 of the images that can be read, with their index."""
    model = onnx.load(engine)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(F_GLOBAL))
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    preprocess, transform = read_manifest(engine).preprocess, TRANSFORMS[augment]
    found: dict[str, list[np.ndarray]] = {}

    def read(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, str] | None:
        try:
            image = transform(decode(path), np.random.default_rng(0))
        except ImageError:
            return None
        pixels = resize_crop(image, preprocess)
        return pixels, blockiness(luminance(image)), spectrum(luminance(Image.fromarray(pixels))), file_sha256(path)

    with ThreadPoolExecutor(2) as pool, Progress("images", len(samples)) as progress:
        for first in range(0, len(samples), BATCH):
            part = list(pool.map(read, (sample.path for sample in samples[first : first + BATCH])))
            there = [(first + i, one) for i, one in enumerate(part) if one is not None]
            indices, images = zip(*there, strict=True)
            pixels, jpeg, rings, digests = map(np.array, zip(*images, strict=True))
            logit, stats, f_global = session.run(["logit", "stats", F_GLOBAL], {"images": pixels})
            columns = {"index": np.array(indices), "logit": logit, "stats": stats, "jpeg": jpeg, "rings": rings,
                       "content": digests, "f_global": f_global.reshape(len(logit), -1)}
            for name, values in columns.items():
                found.setdefault(name, []).append(values)
            progress.advance(len(part))
    return {name: np.concatenate(values) for name, values in found.items()}


def kept(folder: Path | None, engine: Path, samples: Sequence[Sample], augment: str) -> Columns:
    """`measured`, from the folder where it has been there before."""
    if folder is None:
        return measured(engine, samples, augment)
    path = folder / f"{augment}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **measured(engine, samples, augment))  # type: ignore[arg-type]
    with np.load(path) as stored:
        return dict(stored)
