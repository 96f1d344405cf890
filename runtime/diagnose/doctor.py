"""Check an installation: what is installed, what works, and how to fix what does not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..core.environment import (
    cpu_features,
    install_tensorrt,
    is_jetson,
    onnxruntime_for_gpus,
    pip_install,
    pip_packages,
    quota_threads,
    usable_cpus,
)
from ..core.errors import CinemaeError, ExitCode
from ..engines.onnx.library import import_onnxruntime
from ..scoring.options import EngineOptions
from . import hardware
from .probe import imported, probe

Level = Literal["ok", "note", "warning", "problem"]
MIN_FREE_GIB = 1.0
MIN_MEMORY_GIB = 1.0
NOT_DEVICES = frozenset({"AzureExecutionProvider"})
"""Providers of onnxruntime that CINEMAE never uses: this one sends its inputs to a web service."""
BATCH_TOLERANCE = 1e-3
"""Largest accepted difference between the logits of an image alone and in a batch, whose kernels may differ."""
TENSORRT_CODE = "import tensorrt; print(tensorrt.__version__)"
CUDA_CODE = """
try:
    import cuda.bindings.runtime
    print(cuda.bindings.__version__)
except ModuleNotFoundError:
    import cuda.cudart
    print(cuda.__version__)
"""
ONE_WHEEL = (
    f"pip uninstall -y {{names}}; then install exactly one: {pip_packages('onnxruntime', reinstall=True)} (CPU), "
    f"or {pip_packages('onnxruntime-gpu', reinstall=True)} (NVIDIA)"
)


@dataclass(frozen=True)
class Finding:
    """The result of one check: a topic in one word, and one line; the level "problem" means that scoring fails."""

    topic: str
    level: Level
    text: str
    fix: str = ""
    """What to type or change; empty where nothing is wrong."""


def examine(options: EngineOptions) -> Iterator[Finding]:
    """Run all checks and yield each finding at once; the self-test of the engine comes last."""
    yield from system_findings()
    yield from package_findings()
    yield from onnxruntime_findings()
    yield from gpu_findings()
    yield from engine_findings(options)


def exit_code(findings: Iterable[Finding]) -> int:
    """The command's exit code: 0, or 3 where a problem was found."""
    return ExitCode.ENGINE_OR_ENVIRONMENT if any(f.level == "problem" for f in findings) else ExitCode.OK


def _checked(good: bool, topic: str, text: str, fix: str, otherwise: Level = "warning") -> Finding:
    return Finding(topic, "ok", text) if good else Finding(topic, otherwise, text, fix)


def system_findings() -> Iterator[Finding]:
    """Check CPU, memory and disk."""
    python = f"{platform.python_version()} ({sys.executable}) on {platform.system()} {platform.machine()}"
    yield Finding("python", "ok", python)
    cores = f"{usable_cpus()} usable cores" + (" (limited by a control group)" if quota_threads() else "")
    features = cpu_features()
    cpu = ", ".join(filter(None, (hardware.cpu_name(), cores, " ".join(features))))
    yield Finding("cpu", "ok", "; ".join(filter(None, (cpu, hardware.cpu_advice(features)))))
    if (memory := hardware.memory_gib()) is not None:
        text = "{:.1f} of {:.1f} GiB available".format(*memory)
        fix = "close other programs, or use a smaller --batch-size"
        yield _checked(memory[0] >= MIN_MEMORY_GIB, "memory", text, fix)
    for name, folder in (("working folder", os.getcwd()), ("temporary folder", tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free / 2**30
        fix = "free some space, or write results elsewhere"
        yield _checked(free >= MIN_FREE_GIB, "disk", f"{name} {folder}: {free:.1f} GiB free", fix)


def package_findings() -> Iterator[Finding]:
    """Check the packages of the base install and the image formats that this Pillow reads."""
    ours = hardware.installed("cinemae")
    fix = "pip install . in the source tree, so that its version is known"
    yield _checked(bool(ours), "cinemae", ours or "runs from a source tree", fix)
    names = ("numpy", "pillow", "pydantic", "typer")
    yield Finding("packages", "ok", ", ".join(f"{name} {hardware.installed(name) or 'missing'}" for name in names))
    from PIL import Image, features

    Image.init()
    formats = {
        "JPEG": features.check("jpg"), "PNG": features.check("zlib"), "WebP": features.check("webp"),
        "TIFF": features.check("libtiff"), "AVIF": "AVIF" in Image.OPEN, "HEIC": hardware.installed("pillow-heif"),
        "JPEG XL": hardware.installed("pillow-jxl-plugin"),
    }
    missing = [name for name in ("JPEG", "PNG", "WebP") if not formats[name]]
    if missing:
        yield Finding("formats", "problem", f"this Pillow cannot read {', '.join(missing)}",
                      f"{pip_packages('pillow', reinstall=True)} (a wheel, not a build without libraries)")
        return
    rest = [name for name in ("AVIF", "HEIC") if not formats[name]]
    readable = f"{', '.join(name for name, there in formats.items() if there)} readable"
    text = f"{readable}; not {', '.join(rest)}" if rest else readable
    yield _checked(not rest, "formats", text, pip_install("formats"), "note")


def onnxruntime_findings() -> Iterator[Finding]:
    """Check that one onnxruntime wheel is installed, and which of its providers really compute."""
    wheels = hardware.onnxruntime_wheels()
    listed = ", ".join(f"{name} {version}" for name, version in wheels.items())
    if len(wheels) > 1:
        yield Finding("onnxruntime", "problem", f"{len(wheels)} wheels that overwrite each other's files: {listed}",
                      ONE_WHEEL.format(names=" ".join(wheels)))
    try:
        onnxruntime = import_onnxruntime()
        available, ort_version = onnxruntime.get_available_providers(), onnxruntime.__version__
    except Exception as error:  # a half-removed wheel raises AttributeError, a missing library ImportError or OSError
        cause = error.__cause__ or error
        text = f"cannot be imported ({type(cause).__name__}: {cause})" if wheels else "is not installed"
        fix = f"{pip_install('cpu')}; for a GPU instead, {onnxruntime_for_gpus()}"
        yield Finding("onnxruntime", "problem", text, fix)
        return
    if len(wheels) <= 1:
        yield Finding("onnxruntime", "ok", listed or f"onnxruntime {ort_version} (not from a wheel)")
    for provider in available:
        if provider not in NOT_DEVICES:
            trouble = probe(provider)
            text = f"{provider} is listed but does not work: {trouble}" if trouble else f"{provider} computes"
            level: Level = "problem" if provider.startswith("CPU") else "warning"
            yield _checked(not trouble, "provider", text, _provider_fix(provider), level)


def _provider_fix(provider: str) -> str:
    if provider.startswith("CUDA") and is_jetson():
        return f"{onnxruntime_for_gpus()}, or use --device cpu"
    if provider.startswith("CUDA"):
        return (
            f"install the CUDA and cuDNN versions this onnxruntime-gpu was built for ({onnxruntime_for_gpus()}) and a "
            "driver that supports them, or use --device cpu"
        )
    if provider.startswith("Tensorrt"):
        return f"{install_tensorrt()}, or use --device cuda; auto never picks TensorRT"
    return pip_packages("onnxruntime", reinstall=True)


def gpu_findings() -> Iterator[Finding]:
    """Check NVIDIA GPUs and the packages that use them. A machine without a GPU is no problem."""
    gpus = hardware.gpus()
    hint = install_tensorrt() if is_jetson() else ""
    if isinstance(gpus, str):
        yield Finding("gpu", "note", f"{gpus}; the CPU is used")
    else:
        for gpu in gpus:
            text = f"{gpu.name}, compute {gpu.capability}, {gpu.memory_mib} MiB, driver {gpu.driver}"
            yield Finding("gpu", "ok", text)
        hint = install_tensorrt(hardware.driver_cuda(gpus[0].driver))
        if not is_jetson() and "onnxruntime-gpu" not in hardware.onnxruntime_wheels():
            yield Finding("gpu", "warning", "a GPU is here, but onnxruntime-gpu is not installed",
                          f"pip uninstall -y onnxruntime; {onnxruntime_for_gpus()}")
    for topic, code in (("tensorrt", TENSORRT_CODE), ("cuda-python", CUDA_CODE)):
        try:
            yield Finding(topic, "ok", imported(code))
        except ModuleNotFoundError:
            yield Finding(topic, "note", "not installed; needed for .plan engines only", hint)
        except ImportError as error:
            yield Finding(topic, "warning", f"cannot be imported: {error}", hint or pip_packages(topic, reinstall=True))
    if not isinstance(gpus, str):
        yield cuda_finding(gpus[0].driver)


def cuda_finding(driver: str) -> Finding:
    """Whether TensorRT, cuda-python and onnxruntime-gpu are made for one major version of CUDA that the driver runs."""
    packages, cuda = hardware.cuda_packages(), hardware.driver_cuda(driver)
    if cuda is None:
        fix = f"update the NVIDIA driver to {min(hardware.MIN_DRIVER.values())} or later"
        return Finding("cuda", "warning", f"driver {driver} is too old", fix)
    foreign = [package.name for package in packages if is_jetson() and package.name.startswith("tensorrt-")]
    majors = {package.cuda for package in packages}
    listed = ", ".join(f"{package.name} {package.version} (CUDA {package.cuda})" for package in packages)
    text = f"driver {driver} runs CUDA {cuda}" + (f"; installed: {listed}" if packages else "")
    if not foreign and len(majors) <= 1 and max(majors, default=0) <= cuda:
        return Finding("cuda", "ok", text)
    wrong = foreign or [package.name for package in packages if package.cuda != cuda]
    why = f"{foreign[0]} is not for a Jetson" if foreign else "these do not fit together"
    return Finding("cuda", "warning", f"{text}; {why}", f"pip uninstall -y {' '.join(wrong)}; {install_tensorrt(cuda)}")


def engine_findings(options: EngineOptions) -> Iterator[Finding]:
    """Load the engine, which checks hash and manifest, and compare its score of the golden image with its manifest."""
    import numpy as np

    from ..core.golden import golden_image
    from ..engines.load import load_engine
    from ..scoring.verdict import Decision

    try:
        engine = load_engine(options.engine, options.device, None, options.precision)
    except CinemaeError as error:
        yield Finding("engine", "problem", str(error))  # these messages end with their fix
        return
    manifest = engine.manifest
    yield Finding("engine", "ok", f"{manifest.label} on {engine.provider}: {engine.path} (--card tells more)")
    if Decision.of(manifest.calibration).uncalibrated:
        text = "no verdict has a known error rate: too few images were measured, or scores were no evidence on them"
        fix = "more images of more sources, or other rates: cinemae train calibrate CHECKPOINT"
        yield Finding("thresholds", "note", text, fix)
    if beside := manifest.backbone.global_encoder:
        yield Finding("backbones", "ok", f"{manifest.backbone.source} for LCAS, {beside.source} for f_global")
    for note in engine.notes:
        yield Finding("engine", "warning", note, "see the provider's finding above")
    try:
        image = golden_image(manifest.preprocess.crop)
        start = time.perf_counter()
        alone = float(engine.infer(image[None]).logit[0])
        seconds = time.perf_counter() - start
        in_batch = float(engine.infer(np.stack([image[::-1], image])).logit[1])
    except CinemaeError as error:
        yield Finding("self-test", "problem", str(error), "try --device cpu; if it works, the GPU is set up wrongly")
        return
    finally:
        engine.close()
    golden = manifest.golden
    if abs(in_batch - alone) > max(BATCH_TOLERANCE * max(abs(alone), 1), golden.tolerance if golden else 0):
        text = f"the golden image alone scores {alone:.6f}, in a batch {in_batch:.6f}"
        yield Finding("self-test", "problem", text, "export the engine again; use this one with --batch-size 1")
    if golden is None:
        yield Finding("self-test", "warning", f"scores {alone:.6f}, but the manifest holds no expected score",
                      "export the engine again with this release")
        return
    off = abs(alone - golden.logit)
    text = f"golden image: {alone:.6f}, expected {golden.logit:.6f}, off by {off:.1e} (allowed {golden.tolerance:.1e})"
    good = off <= golden.tolerance  # NaN is not
    text += f"; first inference {seconds * 1000:.0f} ms" if good else ""
    yield _checked(good, "self-test", text, "reinstall onnxruntime or try another --device", "problem")
