"""OpenVINO's own INT8, by NNCF's post-training quantisation, beside `cinemae export --int8`.

    pip install nncf openvino
    python benchmarks/nncf_int8.py IMAGES --work DIR [--rounds 11]

ViT-B with seeded random values: plain float32, packed float32 and our INT8 in onnxruntime; packed float32 and NNCF's
INT8 in OpenVINO. Both INT8 forms are calibrated on the same 8 images. Times are of interleaved rounds; drift is the
largest change of a logit, against packed float32, of 16 images in the folder IMAGES. The bundled engine, whose
checkpoint is not published, is quantised by NNCF alone, on 16 other images of IMAGES.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino
from cinemae.export.parity import parity_images
from cinemae.runtime.core.environment import cpu_features
from cinemae.runtime.diagnose.bench import interleave
from cinemae.runtime.engines.load import load_engine
from cinemae.runtime.images.preprocess import load_image
from cinemae.runtime.images.walk import walk
from vit_l import THREADS, cpu_session, graphs

BACKBONE = "vit_base_patch16"
CALIBRATION, TEST = 8, 16
Run = Callable[[np.ndarray], np.ndarray]


def in_onnxruntime(path: Path) -> Run:
    """A graph in onnxruntime: images uint8 [B, S, S, 3] to logits [B]."""
    session = cpu_session(path)
    return lambda images: session.run(["logit"], {"images": images})[0]


def in_openvino(model: Any) -> Run:
    """The same in OpenVINO, in float32 where it is not quantised."""
    settings = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda images: np.array(request.infer({"images": images})["logit"])


def quantised(model: Any, images: np.ndarray) -> Any:
    """NNCF's INT8 form of a model, calibrated on `images`."""
    data = nncf.Dataset([{"images": image[None]} for image in images])
    return nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(images))


def logits(run: Run, images: np.ndarray) -> np.ndarray:
    """One image at a time."""
    return np.concatenate([run(image[None]).reshape(1) for image in images])


def main() -> None:
    """Make, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for the graphs, about 1.5 GB")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    core = openvino.Core()
    with load_engine(None, "cpu", THREADS) as bundled:
        demo, preprocess = core.read_model(str(bundled.path)), bundled.manifest.preprocess
    demo.reshape([1, preprocess.crop, preprocess.crop, 3])  # OpenVINO 2026.4 fails on its INT8 form with a free batch
    paths = graphs(options.work, BACKBONE)
    found = [source.name for source in walk(str(options.images))]
    spread = found[:: len(found) // (2 * TEST)][: 2 * TEST]
    given = np.stack([load_image(name, preprocess).pixels for name in spread])
    test, others = given[::2], given[1::2]
    packed = core.read_model(str(paths["packed"]))
    ways = {
        "plain float32, onnxruntime": in_onnxruntime(paths["plain"]),
        "packed float32, onnxruntime": in_onnxruntime(paths["packed"]),
        "`--int8`, onnxruntime": in_onnxruntime(paths["int8"]),
        "packed float32, OpenVINO": in_openvino(packed),
        "NNCF, OpenVINO": in_openvino(quantised(packed, parity_images(CALIBRATION, preprocess.crop))),
    }
    right = logits(ways["packed float32, onnxruntime"], test)
    print(f"{' '.join(cpu_features())}; {THREADS} threads, {options.rounds} rounds, load {os.getloadavg()[0]:.1f}; "
          f"deviation of the logits {right.std():.3f}\n\n| ViT-B | batch 1 | batch 8 | drift |\n|---|---|---|---|")
    times = [interleave([partial(run, test[:size]) for run in ways.values()], 0, options.rounds) for size in (1, 8)]
    for index, (name, run) in enumerate(ways.items()):
        cells = []
        for one in times:
            low, middle, high = np.quantile(one[:, index] / one[:, 0], (0.25, 0.5, 0.75))
            cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        print("|", " | ".join([name, *cells, f"{np.abs(logits(run, test) - right).max():.4f}"]), "|")
    exact = logits(in_openvino(demo), test)
    moved = np.abs(logits(in_openvino(quantised(demo, others)), test) - exact)
    print(f"\nBundled engine, NNCF: drift {moved.mean():.3f} on average, {moved.max():.3f} at most; deviation "
          f"of the logits {exact.std():.2f}")


if __name__ == "__main__":
    main()
