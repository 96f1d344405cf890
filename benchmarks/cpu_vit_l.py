"""ViT-L on the CPU: naive PyTorch, ours eager, plain ONNX, packed ONNX fp32 and INT8, OpenVINO; interleaved, one run.

    python benchmarks/cpu_vit_l.py --work DIR [--openvino-python PYTHON] [--out benchmarks/cpu-vit-l.md]
    OMP_NUM_THREADS=1 python benchmarks/cpu_vit_l.py --clock cpu --work DIR ...

The second form counts the processor time of one thread: on a machine that others load too, wall time measures them.

Weights are seeded random values: time does not depend on them (but which INT8 treatment a product gets does). Graphs
are made once in DIR and used again. OpenVINO may live in an environment of its own and runs as a worker process, idle
while the others run. Every round runs all candidates in a new random order, and the matrix products that tell the peak;
a ratio is the median over rounds of the quotient of two times of the same round: a drifting clock cancels out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "2"))

Run = Callable[[np.ndarray], object]


@dataclass(frozen=True)
class Candidate:
    """A way to score a batch. flops: of one image. peak: which measured matmul peak it is held against."""

    name: str
    run: Run
    flops: float
    peak: str


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the graphs, about 5 GB")
    parser.add_argument("--backbone", default="vit_large_patch16")
    parser.add_argument("--rounds", type=int, default=25, help="interleaved rounds at batch 1; a third above")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--openvino-python", help="a Python that has openvino")
    parser.add_argument("--openvino-worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--skip", nargs="*", default=[], help="names of candidates to leave out")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def detector(backbone: str):  # noqa: ANN201
    import torch
    from cinemae.runtime.manifest import Backbone, HeadConfig, Manifest, Masks, MethodConfig
    from cinemae.runtime.masks import draw_visible
    from cinemae.train.model.detector import CinemaeDetector
    from cinemae.train.model.head import Head
    from cinemae.train.model.mae import MaskedAutoencoder
    from cinemae.train.model.presets import preset

    torch.manual_seed(0)
    config, method = preset(backbone), MethodConfig()
    visible = draw_visible(config.n_patches, method.k, method.mask_strategy, method.mask_seed)
    found = CinemaeDetector(MaskedAutoencoder(config), Head(config.encoder_dim, HeadConfig()), visible, method).eval()
    manifest = Manifest(
        name=backbone, kind="checkpoint", method=method, head=found.head.config,
        backbone=Backbone(config=config, source="seeded random values", sha256="0" * 64, licence="Apache-2.0"),
        masks=Masks(visible=tuple(tuple(int(i) for i in row) for row in visible)),
    )  # fmt: skip
    return found, manifest


def flops(config, packed: bool) -> float:  # noqa: ANN001
    """Multiply-adds x 2 of the matrix products of one image at K = 2, pass by pass or packed."""
    n, v, d, e, k = config.n_patches + 1, config.n_visible + 1, config.encoder_dim, config.decoder_dim, 2
    m, ratio, p = n - v, config.mlp_ratio, config.patch_values

    def block(width: int, tokens: float, queries: float, segments: list[tuple[float, float]]) -> float:
        """tokens get keys and values; queries query, projection, MLP too; segments: (queries, keys) of attention."""
        dense = 2 * tokens * 2 * width**2 + queries * (2 + 2 * ratio) * 2 * width**2
        return dense + sum(2 * 2 * q * key * width for q, key in segments)

    full, masked = [(n, n)], [(v, v)] * k
    embed = 2 * (n - 1) * p * d
    pixels = 2 * p * e
    encoder = config.encoder_depth * block(d, n + k * v, n + k * v, full + masked)
    decoder = config.decoder_depth * block(e, k * n, k * n, [(n, n)] * k)
    if not packed:  # every pass embeds all patches and predicts all of them, as transformers' ViTMAE does too
        return embed * (k + 1) + encoder + decoder + k * (2 * v * d * e + n * pixels)
    encoder += block(d, n + k * v, 1 + k * v, [(1, n), *masked]) - block(d, n + k * v, n + k * v, full + masked)
    encoder -= 3 * k * v * 2 * d**2
    decoder += block(e, k * n, k * m, [(m, n)] * k) - block(e, k * n, k * n, [(n, n)] * k)
    decoder -= 3 * k * m * 2 * e**2
    return embed + encoder + decoder + k * (2 * v * d * e + m * pixels)


def naive(backbone: str, attention: str) -> Run:
    """transformers' ViTMAE with random weights: one full pass, two masked passes, a head.

    attention: "sdpa", which transformers takes by itself, pinned to torch's CPU flash kernel; or "eager".
    """
    import torch
    from cinemae.train.model.presets import preset
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    config = preset(backbone)
    torch.manual_seed(0)
    model = ViTMAEForPreTraining(
        ViTMAEConfig(
            hidden_size=config.encoder_dim, num_hidden_layers=config.encoder_depth,
            num_attention_heads=config.encoder_heads, intermediate_size=int(config.encoder_dim * config.mlp_ratio),
            decoder_hidden_size=config.decoder_dim, decoder_num_hidden_layers=config.decoder_depth,
            decoder_num_attention_heads=config.decoder_heads, patch_size=config.patch_size,
            decoder_intermediate_size=int(config.decoder_dim * config.mlp_ratio), mask_ratio=0.75,
            attn_implementation=attention,
        )
    ).eval()  # fmt: skip
    head = torch.nn.Sequential(torch.nn.Linear(config.encoder_dim, 256), torch.nn.GELU(), torch.nn.Linear(256, 1))
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def run(images: np.ndarray) -> object:
        with torch.no_grad(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std
            model.vit.config.mask_ratio = 0.0
            cls = model.vit(pixels).last_hidden_state[:, 0]
            model.vit.config.mask_ratio = 0.75
            original = model.patchify(pixels)
            errors = []
            for _ in range(2):
                out = model(pixels)
                errors.append((((out.logits - original) ** 2).sum(-1) * out.mask).sum(-1))
            return head(cls), errors

    return run


def onnx_session(path: Path) -> Run:
    from cinemae.runtime.engines.onnxruntime_import import import_onnxruntime

    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def openvino_worker(path: str, precision: str) -> None:
    """A process that scores what it is sent: one line per request (batch), one line back (seconds)."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    settings = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    size = model.input(0).partial_shape[1].get_length()
    print("ready", flush=True)
    for line in sys.stdin:
        images = np.random.default_rng(0).integers(0, 256, (int(line), size, size, 3), dtype=np.uint8)
        start = clock()
        request.infer({"images": images})
        print(clock() - start, flush=True)


class OpenVino:
    """The worker process as a candidate; idle while others run."""

    def __init__(self, python: str, path: Path, precision: str) -> None:
        command = [python, __file__, "--work", str(path.parent), "--openvino-worker", str(path), precision]
        command += ["--clock", "cpu"] if "cpu" in sys.argv else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError(f"OpenVINO {precision} did not start")

    def __call__(self, images: np.ndarray) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(len(images), file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def graphs(work: Path, backbone: str) -> dict[str, Path]:
    """Make the graphs that are missing."""
    import onnx
    from baselines import plain_graph
    from cinemae.export.fused import fused_graph, packed_graph
    from cinemae.export.graph.packed import PackedDetector
    from cinemae.export.int8.recipe import choose_recipe
    from cinemae.export.int8.rewrite import quantise_for_cpu
    from cinemae.export.parity import parity_images

    work.mkdir(parents=True, exist_ok=True)
    paths = {kind: work / f"{backbone}.{kind}.onnx" for kind in ("plain", "packed", "int8")}
    if all(path.exists() for path in paths.values()):
        return paths
    found, _ = detector(backbone)
    if not paths["plain"].exists():
        onnx.save(plain_graph(found), paths["plain"])
    if not paths["packed"].exists():
        onnx.save(fused_graph(found), paths["packed"])
    if not paths["int8"].exists():
        packed = PackedDetector(found)
        images = parity_images(8, found.mae.config.image_size)
        recipe = choose_recipe(packed, [images[i : i + 2] for i in range(0, 8, 2)])
        model = packed_graph(packed)
        quantise_for_cpu(model, packed, recipe)
        onnx.save(model, paths["int8"])
    return paths


def products() -> dict[str, tuple[float, Callable[[], object]]]:
    """Large matrix products in onnxruntime whose best time tells the peak: operations of one, and a run of it."""
    from cinemae.runtime.engines.onnxruntime_import import import_onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    onnxruntime = import_onnxruntime()
    rows, depth, width = 512, 4096, 1024
    rng = np.random.default_rng(0)
    found = {}
    for kind in ("fp32", "int8"):
        if kind == "fp32":
            weight = rng.standard_normal((depth, width)).astype(np.float32)
            x = rng.standard_normal((rows, depth)).astype(np.float32)
            node, types = helper.make_node("MatMul", ["x", "w"], ["y"]), (TensorProto.FLOAT, TensorProto.FLOAT)
        else:
            weight = rng.integers(-127, 127, (depth, width), dtype=np.int8)
            x = rng.integers(0, 255, (rows, depth), dtype=np.uint8)
            node, types = helper.make_node("MatMulInteger", ["x", "w"], ["y"]), (TensorProto.UINT8, TensorProto.INT32)
        graph = helper.make_graph(
            [node], "peak", [helper.make_tensor_value_info("x", types[0], [rows, depth])],
            [helper.make_tensor_value_info("y", types[1], [rows, width])], [numpy_helper.from_array(weight, "w")],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found[kind] = (2.0 * rows * depth * width, partial(session.run, None, {"x": x}))
    return found


def clock() -> float:
    """Wall seconds, or this process's processor seconds."""
    return time.process_time() if "cpu" in sys.argv else time.perf_counter()


def timed(work: Callable[[], object]) -> float:
    """Wall seconds; a worker that measures itself returns them."""
    start = clock()
    result = work()
    return result if isinstance(result, float) else clock() - start


def candidates(arguments: argparse.Namespace) -> list[Candidate]:
    import torch

    torch.set_num_threads(THREADS)
    paths = graphs(arguments.work, arguments.backbone)
    found, _ = detector(arguments.backbone)
    config = found.mae.config
    plain, packed = flops(config, packed=False), flops(config, packed=True)

    def eager(images: np.ndarray) -> object:
        with torch.no_grad():
            return found(torch.from_numpy(images))

    makers: list[tuple[str, Callable[[], Run], float, str]] = [
        ("plain ONNX fp32", lambda: onnx_session(paths["plain"]), plain, "fp32"),
        ("packed ONNX fp32", lambda: onnx_session(paths["packed"]), packed, "fp32"),
        ("packed ONNX int8", lambda: onnx_session(paths["int8"]), packed, "int8"),
        ("naive PyTorch fp32", lambda: naive(arguments.backbone, "sdpa"), plain, "fp32"),
        ("naive PyTorch fp32, eager attention", lambda: naive(arguments.backbone, "eager"), plain, "fp32"),
        ("ours eager fp32", lambda: eager, plain, "fp32"),
    ]
    if arguments.openvino_python:
        for precision in ("f32", "bf16"):
            makers.append((
                f"OpenVINO {precision}, packed",
                lambda precision=precision: OpenVino(arguments.openvino_python, paths["packed"], precision),  # type: ignore[misc]
                packed, "fp32",
            ))  # fmt: skip
    chosen = []
    for name, make, work, peak in makers:
        if name not in arguments.skip:
            print(f"loading {name}", file=sys.stderr, flush=True)
            chosen.append(Candidate(name, make(), work, peak))
    return chosen


def main() -> None:
    arguments = parse()
    if arguments.openvino_worker:
        openvino_worker(*arguments.openvino_worker)
        return
    chosen = candidates(arguments)
    probes = products()
    rng = np.random.default_rng(0)
    lines = [
        f"{arguments.backbone}, K = 2, {THREADS} threads, {processor()}; onnxruntime "
        f"{importlib.metadata.version('onnxruntime')}, torch {importlib.metadata.version('torch')}. "
        f"Clock: {arguments.clock}. Load average at the start {os.getloadavg()[0]:.1f}.",
    ]
    for batch in arguments.batches:
        images = rng.integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
        rounds = arguments.rounds if batch == 1 else max(2, arguments.rounds // 3)
        times = {candidate.name: np.zeros(rounds) for candidate in chosen}
        peaks = dict.fromkeys(probes, 0.0)
        for candidate in chosen:
            candidate.run(images)
        for round_ in range(rounds):
            for at in rng.permutation(len(chosen)):
                times[chosen[at].name][round_] = timed(lambda: chosen[at].run(images))  # noqa: B023
                for kind, (operations, work) in probes.items():
                    peaks[kind] = max(peaks[kind], operations / timed(work))
            print(f"batch {batch}: round {round_ + 1} of {rounds}", file=sys.stderr, flush=True)
        best = f"Best matmul: fp32 {peaks['fp32'] / 1e9:.0f} GFLOP/s, int8 {peaks['int8'] / 1e9:.0f} GOP/s."
        lines += ["", f"Batch {batch}, {rounds} interleaved rounds. {best}", "", *table(chosen, times, batch, peaks)]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


def table(chosen: list[Candidate], times: dict[str, np.ndarray], batch: int, peaks: dict[str, float]) -> list[str]:
    """Rows of Markdown; quotients with every candidate's quartiles over the rounds."""
    lines = [
        "| | s an image, median | fastest | of plain ONNX (quartiles) | of naive PyTorch | GFLOP each | of the peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for candidate in chosen:
        taken = times[candidate.name]
        low, middle, high = np.percentile(taken / times["plain ONNX fp32"], [25, 50, 75])
        naive = np.median(taken / times["naive PyTorch fp32"])
        share = candidate.flops * batch / taken.min() / peaks[candidate.peak]
        lines.append(
            f"| {candidate.name} | {np.median(taken) / batch:.3f} | {taken.min() / batch:.3f} "
            f"| {middle:.2f} ({low:.2f} to {high:.2f}) | {naive:.2f} | {candidate.flops / 1e9:.0f} | {share:.0%} |"
        )
    return lines


def processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(": ")[2] if names else platform.processor()


if __name__ == "__main__":
    main()
