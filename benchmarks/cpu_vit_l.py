"""ViT-L on the CPU: naive PyTorch, ours eager, plain ONNX, packed fp32, bf16 and INT8, OpenVINO; interleaved, one run.

    python benchmarks/cpu_vit_l.py --work DIR [--openvino-python PYTHON] [--out TABLE.md]
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
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from cinemae.runtime.core.environment import cpu_features
from cinemae.runtime.diagnose.hardware import cpu_name
from vit_l import THREADS, cpu_session, detector, flops, graphs

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
    parser.add_argument("--openvino-python", default=sys.executable, help="a Python that has openvino")
    parser.add_argument("--openvino-worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--skip", nargs="*", default=[], help="names of candidates to leave out")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def onnx_run(path: Path) -> Run:
    session = cpu_session(path)
    return lambda images: session.run(None, {"images": images})


def openvino_worker(path: str, precision: str) -> None:
    """A process that scores what it is sent: one line per request (batch), one line back (seconds, logits)."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    settings = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    size = model.input(0).partial_shape[1].get_length()
    print("ready", flush=True)
    for line in sys.stdin:
        start = clock()
        found = request.infer({"images": pictures(int(line), size)})
        print(clock() - start, *found["logit"].tolist(), flush=True)


def pictures(batch: int, size: int = 224) -> np.ndarray:
    """The images of every run."""
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)


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
        seconds, *logits = map(float, self.process.stdout.readline().split())
        self.logits = np.array(logits)
        return seconds


def products() -> dict[str, tuple[float, Callable[[], object]]]:
    """Large matrix products in onnxruntime whose best time tells the peak: operations of one, and a run of it."""
    from onnx import TensorProto, helper, numpy_helper

    rows, depth, width = 512, 4096, 1024
    rng = np.random.default_rng(0)
    found: dict[str, tuple[float, Callable[[], object]]] = {}
    for kind in ("fp32", "int8"):
        if kind == "fp32":
            weight: np.ndarray = rng.standard_normal((depth, width)).astype(np.float32)
            x: np.ndarray = rng.standard_normal((rows, depth)).astype(np.float32)
            node, types = helper.make_node("MatMul", ["x", "w"], ["y"]), (TensorProto.FLOAT, TensorProto.FLOAT)
        else:
            weight = rng.integers(-127, 127, (depth, width), dtype=np.int8)
            x = rng.integers(0, 255, (rows, depth), dtype=np.uint8)
            node, types = helper.make_node("MatMulInteger", ["x", "w"], ["y"]), (TensorProto.UINT8, TensorProto.INT32)
        graph = helper.make_graph(
            [node], "peak", [helper.make_tensor_value_info("x", types[0], [rows, depth])],
            [helper.make_tensor_value_info("y", types[1], [rows, width])], [numpy_helper.from_array(weight, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        session = cpu_session(model.SerializeToString())
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
    from baselines import naive

    torch.set_num_threads(THREADS)
    paths = graphs(arguments.work, arguments.backbone)
    found, _ = detector(arguments.backbone)
    config = found.mae.config
    plain, packed = flops(config, packed=False), flops(config, packed=True)

    def eager(images: np.ndarray) -> object:
        with torch.no_grad():
            return found(torch.from_numpy(images))

    makers: list[tuple[str, Callable[[], Run], float, str]] = [
        ("plain ONNX fp32", lambda: onnx_run(paths["plain"]), plain, "fp32"),
        ("packed ONNX fp32", lambda: onnx_run(paths["packed"]), packed, "fp32"),
        ("packed ONNX int8", lambda: onnx_run(paths["int8"]), packed, "int8"),
        ("naive PyTorch fp32", lambda: naive(arguments.backbone, "sdpa"), plain, "fp32"),
        ("naive PyTorch fp32, eager attention", lambda: naive(arguments.backbone, "eager"), plain, "fp32"),
        ("ours eager fp32", lambda: eager, plain, "fp32"),
    ]
    if arguments.openvino_python:
        for name, graph, precision in (
            ("OpenVINO f32, packed", "packed", "f32"), ("OpenVINO bf16, fp32 engine asked", "packed", "bf16"),
            ("OpenVINO bf16 engine", "bf16", "f32"),
        ):
            maker = partial(OpenVino, arguments.openvino_python, paths[graph], precision)
            makers.append((name, maker, packed, "fp32"))
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
        images = pictures(batch)
        rounds = arguments.rounds if batch == 1 else max(2, arguments.rounds // 3)
        times = {candidate.name: np.zeros(rounds) for candidate in chosen}
        peaks = dict.fromkeys(probes, 0.0)
        logits = {candidate.name: logits_of(candidate.run, candidate.run(images)) for candidate in chosen}
        for round_ in range(rounds):
            for at in rng.permutation(len(chosen)):
                times[chosen[at].name][round_] = timed(lambda: chosen[at].run(images))  # noqa: B023
                for kind, (operations, work) in probes.items():
                    peaks[kind] = max(peaks[kind], operations / timed(work))
            print(f"batch {batch}: round {round_ + 1} of {rounds}", file=sys.stderr, flush=True)
        best = f"Best matmul: fp32 {peaks['fp32'] / 1e9:.0f} GFLOP/s, int8 {peaks['int8'] / 1e9:.0f} GOP/s."
        rows = table(chosen, times, batch, peaks, logits)
        lines += ["", f"Batch {batch}, {rounds} interleaved rounds. {best}", "", *rows]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


def logits_of(run: Run, result: object) -> np.ndarray:
    """Logits of the images that were scored last."""
    return run.logits if isinstance(run, OpenVino) else np.asarray(result[0]).ravel()  # type: ignore[index]


def table(
    chosen: list[Candidate], times: dict[str, np.ndarray], batch: int, peaks: dict[str, float],
    logits: dict[str, np.ndarray],
) -> list[str]:
    """Rows of Markdown; quotients with every candidate's quartiles over the rounds, drift against plain ONNX."""
    lines = [
        "| | s an image, median | fastest | of plain ONNX (quartiles) | of naive PyTorch | GFLOP each | of the peak "
        "| logit drift |",
        "|---|---|---|---|---|---|---|---|",
    ]
    exact = logits["plain ONNX fp32"]
    for candidate in chosen:
        taken = times[candidate.name]
        low, middle, high = np.percentile(taken / times["plain ONNX fp32"], [25, 50, 75])
        naive = np.median(taken / times.get("naive PyTorch fp32", np.nan))
        drift = "" if candidate.name.startswith("naive") else f"{np.abs(logits[candidate.name] - exact).max():.4f}"
        share = candidate.flops * batch / taken.min() / peaks[candidate.peak]
        lines.append(
            f"| {candidate.name} | {np.median(taken) / batch:.3f} | {taken.min() / batch:.3f} "
            f"| {middle:.2f} ({low:.2f} to {high:.2f}) | {naive:.2f} | {candidate.flops / 1e9:.0f} | {share:.0%} "
            f"| {drift} |"
        )
    return lines


def processor() -> str:
    """Name and instruction sets, by which a table is filed."""
    return f"{cpu_name()} ({' '.join(cpu_features())})"


if __name__ == "__main__":
    main()
