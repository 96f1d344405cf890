"""Extraction: one mask set against four, and against an engine in onnxruntime; precision and memory.

    python benchmarks/extract_speed.py speed DATA --backbone WEIGHTS [--images 96] [--rounds 5]
    python benchmarks/extract_speed.py memory DATA --backbone WEIGHTS
    python benchmarks/extract_speed.py precision DATA --backbone WEIGHTS [--images 200]

`speed` runs the whole of `extract` (reading, hashing, decoding, the network, writing shards) into empty caches, in
alternating rounds: as it was until December 2026, with four mask sets; with the default; and with an engine of that
shape, in onnxruntime, in place of the network. `memory` runs the command on two lists, one four times as long as the
other. `precision` fits a head on float32 features of split train and reports how far other precisions, and sums stored
in half precision, move the features and logits of the other splits and of four flat images. It needs no GPU: what
enters and leaves the linear layers is rounded; a processor's own bfloat16 instructions are tried and timed too. DATA is
a layout of the training data.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from cinemae.runtime.core.environment import cpu_features, lacks_bf16
from cinemae.runtime.core.manifest import HeadConfig, MethodConfig
from cinemae.runtime.diagnose.bench import interleave
from cinemae.runtime.engines.load import load_engine
from cinemae.runtime.images.preprocess import load_image
from cinemae.train.compute import prepare_process
from cinemae.train.data.sample import Sample
from cinemae.train.data.samples import read_samples
from cinemae.train.features import extract as extraction
from cinemae.train.features import extractor
from cinemae.train.features.cache import TENSORS, Features
from cinemae.train.features.cache_spec import CacheSpec, draw_mask_sets
from cinemae.train.features.extractor import FeatureExtractor
from cinemae.train.fitting.examples import Examples, logits_of
from cinemae.train.fitting.fit_config import FitConfig
from cinemae.train.fitting.head_training import train_head
from cinemae.train.model import lcas
from cinemae.train.model.head import Head
from cinemae.train.model.mae import MaskedAutoencoder
from cinemae.train.weights.load import LoadedBackbone, load_backbone
from torch import Tensor, nn

FIT = FitConfig(lr=1e-3, epochs=100)
METHOD = MethodConfig()
ENGINE_BATCH = 8
ROUNDS = 11


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def load_average() -> str:
    """The machine's load over the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def spread(values: Sequence[float]) -> str:
    """Median, lowest and highest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def evenly(samples: Sequence[Sample], count: int) -> list[Sample]:
    """`count` samples, evenly over the list."""
    return [samples[i * len(samples) // count] for i in range(min(count, len(samples)))]


def timed(work: Callable[[], object], images: int) -> tuple[float, float]:
    """Images a second, and seconds of processor time an image."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return images / (time.perf_counter() - wall), (time.process_time() - processor) / images


class Before(FeatureExtractor):
    """The extractor as it was: of the unmasked pass all tokens leave the last block, and squares go through memory."""

    def __call__(self, images: np.ndarray) -> Features:
        """As `FeatureExtractor`."""
        with (
            patch.object(extractor, "encode_global", lambda mae, x, kind: mae.encode_embedded(x)[:, 0]),
            patch.object(lcas, "sum_of_squares", lambda x: x.square().sum(-1)),
        ):
            return super().__call__(images)


class Engine:
    """The exported engine in place of the network: its features are empty.

    Args:
        path: the engine; None: the bundled engine.
        rows: what a row of the cache holds otherwise.
    """

    def __init__(self, path: Path | None, rows: Features) -> None:
        self.engine, self.rows = load_engine(path, device="cpu", threads=torch.get_num_threads()), rows

    def __call__(self, images: np.ndarray) -> Features:
        """Score a batch in the pieces that `cinemae run` gives a processor."""
        for start in range(0, len(images), ENGINE_BATCH):
            self.engine.infer(images[start : start + ENGINE_BATCH])
        f_global, sums, context = (getattr(self.rows, name).repeat(len(images), axis=0) for name in TENSORS)
        return Features(f_global, sums, context, self.rows.pixels)


def speed(samples: Sequence[Sample], loaded: LoadedBackbone, engine: Path | None, rounds: int) -> None:
    """Time four sets, the default and the engine inside `extract`, in alternating rounds."""
    spec, four = (
        CacheSpec.create(loaded.info, extraction.preprocess_for(loaded.info.config), METHOD.model_copy(update=update))
        for update in ({}, {"mask_sets": 4})
    )
    side = spec.preprocess.crop
    blank = FeatureExtractor(loaded.mae, spec.mask_sets())(np.zeros((1, side, side, 3), np.uint8))
    ways: dict[str, tuple[CacheSpec, Callable[..., object]]] = {
        "four mask sets, as before": (four, Before),
        "the default": (spec, FeatureExtractor),
        "the engine in onnxruntime": (spec, lambda *_, **__: Engine(engine, blank)),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}

    def run(name: str, chosen: Sequence[Sample]) -> tuple[float, float]:
        own, make = ways[name]
        with tempfile.TemporaryDirectory() as folder, patch.object(extraction, "FeatureExtractor", make):
            work = partial(extraction.extract, chosen, lambda: loaded.mae, own, Path(folder), quiet=True)
            return timed(work, len(chosen))

    for name in ways:
        run(name, samples[:4])  # allocator, page cache
    for _ in range(rounds):
        for name, results in found.items():
            results.append(run(name, samples))
            print(f"{name}: {results[-1][0]:.2f} images/s, load {load_average()}", file=sys.stderr)
    row("network", "images/s", "of four sets, paired", "processor ms an image", "of four sets, paired")
    row(*["---"] * 5)
    first = next(iter(found.values()))
    for name, results in found.items():
        rates, costs = zip(*results, strict=True)
        gain = spread([b[0] / a[0] for a, b in zip(first, results, strict=True)])
        less = spread([a[1] / b[1] for a, b in zip(first, results, strict=True)])
        row(name, spread(rates), gain, f"{1000 * statistics.median(costs):.0f}", less)
    print(f"\n{len(samples)} images, {rounds} rounds, {torch.get_num_threads()} threads, load {load_average()}")


def memory(samples: Sequence[Sample], backbone: str) -> None:
    """Peak resident memory of the command on a short and a long list."""
    row("images", "peak memory, MiB")
    row("---", "---")
    for count in (len(samples) // 4, len(samples)):
        with tempfile.TemporaryDirectory() as folder:
            listed = Path(folder) / "list.csv"
            lines = [f"{sample.path},{('real', 'ai')[sample.label]},{sample.generator}\n"
                     for sample in evenly(samples, count)]
            listed.write_text("path,label,generator\n" + "".join(lines))
            command = [sys.executable, "-m", "cinemae.train.cli.train", "extract", str(listed), "-q",
                       "--backbone", backbone, "--cache", folder]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                raise SystemExit("the extraction failed")
            row(count, round(usage.ru_maxrss / 1024))


def as_tf32(x: Tensor) -> Tensor:
    """Round float32 to 10 bits of mantissa."""
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def as_half(x: Tensor, kind: torch.dtype) -> Tensor:
    """Round float32 to a half precision."""
    return x.to(kind).float()


def emulate(loaded: LoadedBackbone, rounded: Callable[[Tensor], Tensor], half: bool) -> MaskedAutoencoder:
    """A copy of the model whose linear layers see rounded weights and inputs, and round their outputs if `half`."""
    mae = MaskedAutoencoder(loaded.info.config).requires_grad_(False)
    mae.load_state_dict(loaded.mae.state_dict())
    for module in mae.modules():
        if isinstance(module, nn.Linear) and (module is not mae.decoder_pred or not half):
            module.weight.copy_(rounded(module.weight))
            module.register_forward_pre_hook(lambda _, inputs: tuple(map(rounded, inputs)))
            if half:
                module.register_forward_hook(lambda *call: rounded(call[-1]))
    if not half:  # what enters the prediction layer, which is called as a function
        mae.decoder_norm.register_forward_hook(lambda *call: rounded(call[-1]))
    return mae


def precision(samples: Sequence[Sample], loaded: LoadedBackbone, images: int) -> None:
    """How far features and logits move from float32."""
    splits = ([s for s in samples if (s.split == "train") == training] for training in (True, False))
    train, test = (evenly(part, count) for part, count in zip(splits, (images, images // 4), strict=True))
    preprocess = extraction.preprocess_for(loaded.info.config)
    pictures = [np.stack([load_image(str(s.path), preprocess).pixels for s in part]) for part in (train, test)]
    flat = np.stack([np.full_like(pictures[1][0], value) for value in (0, 1, 128, 255)])
    pictures[1] = np.concatenate([pictures[1], flat])
    sets = draw_mask_sets(loaded.info.config.n_patches, METHOD)
    cpu = torch.device("cpu")
    plain, native = FeatureExtractor(loaded.mae, sets, cpu), FeatureExtractor(loaded.mae, sets, cpu, "bf16")
    fitted_on, exact = (plain(images) for images in pictures)
    head = fit_head(fitted_on, [s.label for s in train])

    def logits(features: Features) -> np.ndarray:
        stats = torch.from_numpy(features.stats(METHOD)[:, 0])
        return logits_of(head, torch.from_numpy(features.f_global), stats).numpy()

    def stored(kind: torch.dtype) -> Features:
        return replace(exact, sums=torch.from_numpy(exact.sums).to(kind).float().numpy())

    def computed(rounded: Callable[[Tensor], Tensor], half: bool = True) -> Features:
        return FeatureExtractor(emulate(loaded, rounded, half), sets)(pictures[1])

    others: dict[str, Callable[[], Features]] = {
        "sums stored as float16": lambda: stored(torch.float16),
        "sums stored as bfloat16": lambda: stored(torch.bfloat16),
        "tf32": lambda: computed(as_tf32, False),
        "fp16": lambda: computed(partial(as_half, kind=torch.float16)),
        "bf16": lambda: computed(partial(as_half, kind=torch.bfloat16)),
    }
    if not lacks_bf16():
        others["bf16 of this processor"] = lambda: native(pictures[1])
    right = logits(exact)
    row("precision", "f_global, largest, of its deviation", "s1", "s2", "s3", "logit, mean", "largest", "flat images")
    row(*["---"] * 8)
    for name, compute in others.items():
        features = compute()
        moved = np.abs(logits(features) - right)
        statistics_moved = np.abs(features.stats(METHOD) - exact.stats(METHOD)).max((0, 1))
        largest = np.abs(features.f_global - exact.f_global).max() / exact.f_global.std()
        real, even = moved[: -len(flat)], moved[-len(flat) :]
        row(name, f"{largest:.1e}", *(f"{x:.1e}" for x in statistics_moved), f"{real.mean():.5f}", f"{real.max():.5f}",
            f"{even.max():.5f}")
    largest = np.abs(exact.sums).max()
    print(f"\n{len(test)} images; deviation of the logits {right.std():.2f}; largest sum {largest:.0f}")
    if not lacks_bf16():
        some = pictures[0][:16]
        times = interleave([partial(native, some), partial(plain, some)], 0, ROUNDS)
        print(f"bf16 on {' '.join(cpu_features())}: {spread(times[:, 0] / times[:, 1])} of float32's time, paired, "
              f"{torch.get_num_threads()} threads, load {load_average()}")


def fit_head(features: Features, labels: Sequence[int]) -> Head:
    """The default head; every eighth image selects the epoch."""
    held = np.arange(len(labels)) % 8 == 0
    f_global, stats = torch.from_numpy(features.f_global), torch.from_numpy(features.stats(METHOD))
    whole = Examples(f_global, stats, torch.tensor(labels, dtype=torch.float32))
    return train_head(whole.take(~held), whole.take(held), FIT, HeadConfig(), quiet=True).head


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory", "precision"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--engine", type=Path, help="of the backbone's shape; the bundled one has that of vit_tiny")
    parser.add_argument("--images", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    prepare_process(options.threads)
    samples = read_samples(options.data)
    if options.what == "memory":
        return memory(evenly(samples, options.images or 1024), options.backbone)
    loaded = load_backbone(options.backbone)
    if options.what == "speed":
        return speed(evenly(samples, options.images or 96), loaded, options.engine, options.rounds)
    return precision(samples, loaded, options.images or 200)


if __name__ == "__main__":
    main()
