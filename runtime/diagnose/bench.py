"""Latency and throughput of decoding, preprocessing, inference and the whole pipeline.

Engines to compare run alternately in one process, so that a machine that becomes slower affects all of them. The ratio
of two engines is the median of the ratios of their times in the same round.
"""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial

import numpy as np
from PIL import Image

from ..core.environment import usable_cpus
from ..core.errors import CinemaeError, UsageError
from ..core.manifest import Preprocess
from ..engines.base import Engine
from ..engines.load import load_engine
from ..images.decode import decoded
from ..images.preprocess import prepare, shrink_to
from ..images.source import ImageSource
from ..scoring.detector import Detector
from .bench_result import BenchResult, InferenceRow, PipelineRow, Timing, describe_machine, timing
from .options import BenchOptions
from .product import products

MIN_ROUNDS = 5
WARM_UP = 2
MAX_DECODED = 200
"""Inputs to decode; their pixels stay in memory."""
SYNTHETIC_SIZE = (1600, 1200)
"""Width and height of the JPEG that is rendered where no input is named."""


def interleave(calls: Sequence[Callable[[], object]], seconds: float, min_rounds: int = MIN_ROUNDS) -> np.ndarray:
    """Time functions alternately, about `seconds` each, at least `min_rounds`; every second round runs backwards.

    Returns:
        float64 [rounds, calls], seconds.
    """
    for call in calls:
        for _ in range(WARM_UP):
            call()
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds * len(calls)
    while len(rounds) < min_rounds or time.perf_counter() < end:
        row = [0.0] * len(calls)
        for index in range(len(calls))[:: -1 if len(rounds) % 2 else 1]:
            start = time.perf_counter()
            calls[index]()
            row[index] = time.perf_counter() - start
        rounds.append(row)
    return np.asarray(rounds)


def synthetic_jpeg(seed: int = 0) -> bytes:
    """A JPEG of smooth shapes with fine noise, which costs as much to decode as a photograph."""
    width, height = SYNTHETIC_SIZE
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noisy = (smooth + rng.integers(-9, 10, (height, width, 1), dtype=np.int16)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def measure_decoding(sources: Sequence[ImageSource], preprocess: Preprocess) -> tuple[Timing, Timing, np.ndarray]:
    """Decode and preprocess inputs one by one in this thread. Unreadable inputs are left out.

    Returns:
        Timings of decoding and of preprocessing, and the pixels, uint8 [n, S, S, 3].

    Raises:
        UsageError: none of the inputs can be read.
    """
    decoding, preparing, pixels, problem = [], [], [], ""
    for source in sources:
        start = time.perf_counter()
        try:
            with decoded(source, shrink_to=shrink_to(preprocess)) as one:
                middle = time.perf_counter()
                pixels.append(prepare(one, preprocess).pixels)
        except CinemaeError as error:
            problem = str(error)
            continue
        preparing.append(time.perf_counter() - middle)
        decoding.append(middle - start)
    if not pixels:
        raise UsageError(f"none of the inputs can be read ({problem or 'there are none'})")
    return timing(decoding), timing(preparing), np.stack(pixels)


def bench(
    options: BenchOptions, inputs: Sequence[ImageSource] = (), say: Callable[[str], None] = lambda text: None
) -> BenchResult:
    """Run the benchmark on `inputs`, or on rendered images; `say` gets a line of progress before each step.

    Raises:
        UsageError: a batch that memory does not hold, engines of different input sizes, or no readable input.
        EngineError: an engine cannot be loaded.
        MissingDependencyError: a backend is not installed or a device does not work.
    """
    sources: list[ImageSource] = list(inputs[:MAX_DECODED]) or [synthetic_jpeg(seed) for seed in range(8)]
    kind = f"{len(sources)} {'files' if inputs else 'rendered JPEGs of {} x {}'.format(*SYNTHETIC_SIZE)}"
    result: BenchResult | None = None
    for threads in options.threads or (None,):
        with ExitStack() as stack:
            engines, loading = _load(options, threads, say, stack)
            if result is None:
                say(f"decoding {kind}")
                decoding, preparing, pixels = measure_decoding(sources, engines[0].manifest.preprocess)
                result = BenchResult(describe_machine(), kind, decoding, preparing)
                if calls := products(threads or usable_cpus()):
                    times = interleave(tuple(calls.values()), 0) * 1000
                    result.product_ms = dict(zip(calls, map(float, np.median(times, axis=0)), strict=True))
            rows = list(_inference(options, engines, loading, threads, pixels=pixels, say=say))
            result.inference += rows
            say("the whole pipeline")
            result.pipeline.append(_pipeline(options, engines[0], rows, sources, kind))
            result.pipeline.append(_pipeline(options, engines[0], rows, list(pixels), "decoded images"))
    assert result is not None
    return result


def _load(
    options: BenchOptions, threads: int | None, say: Callable[[str], None], stack: ExitStack
) -> tuple[list[Engine], list[float]]:
    """The engines, which `stack` closes, and the seconds of loading for each engine."""
    engines: list[Engine] = []
    loading: list[float] = []
    for index, path in enumerate((options.engine, *options.baseline)):
        say(f"loading {path or 'the bundled engine'}")
        start = time.perf_counter()
        precision = None if index else options.precision  # a baseline may be the same file in its own precision
        loaded = load_engine(path, options.device, threads, precision)
        engines.append(stack.enter_context(closing(loaded)))
        loading.append(time.perf_counter() - start)
    if len({engine.manifest.preprocess.crop for engine in engines}) > 1:
        raise UsageError("the engines take images of different sizes: compare engines of one size")
    return engines, loading


def _inference(
    options: BenchOptions, engines: list[Engine], loading: list[float], threads: int | None, *, pixels: np.ndarray,
    say: Callable[[str], None],
) -> Iterator[InferenceRow]:
    first = []
    for engine in engines:
        start = time.perf_counter()
        engine.infer(pixels[:1])
        first.append((time.perf_counter() - start) * 1000)
    for size in options.batch_sizes:
        say(f"inference, batch {size}" + (f", {threads} threads" if threads else ""))
        try:
            batch = np.ascontiguousarray(pixels[np.arange(size) % len(pixels)])
        except MemoryError:
            raise UsageError(f"no memory for a batch of {size:,} images; give smaller --batch-sizes") from None
        times = interleave([partial(engine.infer, batch) for engine in engines], options.seconds)
        for index, engine in enumerate(engines):
            latency = timing(times[:, index])
            has_ratio = len(engines) > 1 and index != 1
            yield InferenceRow(
                engine=engine.manifest.label, path=str(engine.path), provider=engine.provider,
                threads=threads, batch=size, timing=latency, images_per_s=size / latency.p50_ms * 1000,
                ratio=float(np.median(times[:, index] / times[:, 1])) if has_ratio else None,
                load_s=loading[index], first_ms=first[index],
            )


def _pipeline(
    options: BenchOptions, engine: Engine, rows: list[InferenceRow], sources: Sequence[ImageSource], inputs: str
) -> PipelineRow:
    """Throughput from sources to records at the largest batch size, measured for about `options.seconds`."""
    batch, workers = max(options.batch_sizes), options.workers or usable_cpus()
    alone = next(row for row in rows if row.batch == batch).images_per_s
    start = time.perf_counter()

    def timed() -> Iterator[ImageSource]:
        for i in itertools.count():
            if i >= 4 * batch and time.perf_counter() - start > options.seconds:
                return
            yield sources[i % len(sources)]

    done = sum(1 for _ in Detector(engine, engine.manifest).detect_many(timed(), batch, workers))
    speed = done / (time.perf_counter() - start)
    return PipelineRow(
        engine=engine.manifest.label, inputs=inputs, batch=batch, workers=workers, images=done,
        images_per_s=speed, share=speed / alone,
    )
