"""Check an installation: what is installed, what works, and how to fix what does not."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.environment import install_tensorrt, pip_install, pip_packages, usable_cpus
from ..core.errors import CinemaeError, ExitCode
from ..core.text import last_line
from ..engines.onnx.library import import_onnxruntime
from . import hardware
from .cuda_versions import MIN_DRIVER, cuda_packages, driver_cuda, misfits
from .provider_probe import probe

Level = Literal["ok", "note", "warning", "problem"]
MIN_PYTHON = (3, 10)
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
    """The result of one check.

    Attributes:
        topic: one word, for example "gpu".
        level: "problem" means that scoring does not work.
        text: one line.
        fix: what to type or change; empty where nothing is wrong.
    """

    topic: str
    level: Level
    text: str
    fix: str = ""


def examine(engine: str | Path | None = None, device: str = "auto") -> Iterator[Finding]:
    """Run all checks and yield each finding at once.

    Args:
        engine: the engine of the self-test, which comes last; None for the bundled one.
        device: as `load_engine`.
    """
    yield from system_findings()
    yield from package_findings()
    yield from onnxruntime_findings()
    yield from gpu_findings()
    yield from engine_findings(engine, device)


def exit_code(findings: Iterable[Finding]) -> int:
    """The command's exit code: 0, or 3 where a problem was found."""
    return ExitCode.ENGINE_OR_ENVIRONMENT if any(f.level == "problem" for f in findings) else ExitCode.OK


def report(findings: list[Finding]) -> dict[str, Any]:
    """The findings as plain JSON types."""
    return {"ok": exit_code(findings) == ExitCode.OK, "findings": [asdict(finding) for finding in findings]}


def system_findings() -> Iterator[Finding]:
    """Check Python, CPU, memory and disk."""
    python = f"{platform.python_version()} ({sys.executable}) on {platform.system()} {platform.machine()}"
    if sys.version_info >= MIN_PYTHON:
        yield Finding("python", "ok", python)
    else:
        yield Finding("python", "problem", python, f"use Python {'.'.join(map(str, MIN_PYTHON))} or newer")
    features = hardware.cpu_features()
    yield Finding("cpu", "ok", f"{hardware.cpu_name()}, {usable_cpus()} usable cores"
                  + (f", {' '.join(features)}" if features else ""))
    memory = hardware.memory_gib()
    if memory is not None:
        low = memory[0] < MIN_MEMORY_GIB
        yield Finding("memory", "warning" if low else "ok", f"{memory[0]:.1f} of {memory[1]:.1f} GiB available",
                      "close other programs, or use a smaller --batch-size" if low else "")
    for name, folder in (("working folder", os.getcwd()), ("temporary folder", tempfile.gettempdir())):
        free = hardware.disk_free_gib(folder)
        low = free < MIN_FREE_GIB
        yield Finding("disk", "warning" if low else "ok", f"{name} {folder}: {free:.1f} GiB free",
                      "free some space, or write results elsewhere" if low else "")


def package_findings() -> Iterator[Finding]:
    """Check the packages of the base install and the image formats that this Pillow reads."""
    ours = hardware.installed("cinemae")
    yield Finding("cinemae", "ok" if ours else "warning", ours or "runs from a source tree",
                  "" if ours else "pip install . in the source tree, so that its version is known")
    names = ("numpy", "pillow", "pydantic", "typer")
    yield Finding("packages", "ok", ", ".join(f"{name} {hardware.installed(name) or 'missing'}" for name in names))
    from PIL import Image, features

    Image.init()
    readable = [name for name, ok in (
        ("JPEG", features.check("jpg")), ("PNG", features.check("zlib")), ("WebP", features.check("webp")),
        ("TIFF", features.check("libtiff")), ("AVIF", "AVIF" in Image.OPEN),
        ("HEIC", bool(hardware.installed("pillow-heif"))),
    ) if ok]
    missing = [name for name in ("JPEG", "PNG", "WebP") if name not in readable]
    if missing:
        yield Finding("formats", "problem", f"this Pillow cannot read {', '.join(missing)}",
                      f"{pip_packages('pillow', reinstall=True)} (a wheel, not a build without libraries)")
    else:
        rest = [name for name in ("AVIF", "HEIC") if name not in readable]
        text = f"{', '.join(readable)} readable" + (f"; not {', '.join(rest)}" if rest else "")
        yield Finding("formats", "note" if rest else "ok", text, pip_install("formats") if rest else "")


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
        yield Finding("onnxruntime", "problem", text, f"{pip_install('cpu')}; for NVIDIA 'gpu' instead of 'cpu'")
        return
    if len(wheels) <= 1:
        yield Finding("onnxruntime", "ok", listed or f"onnxruntime {ort_version} (not from a wheel)")
    for provider in available:
        if provider in NOT_DEVICES:
            continue
        result = probe(provider)
        if result.usable:
            yield Finding("provider", "ok", f"{provider} computes")
        else:
            level: Level = "problem" if provider.startswith("CPU") else "warning"
            text = f"{provider} is listed but does not work: {result.detail}"
            yield Finding("provider", level, text, _provider_fix(provider))


def _provider_fix(provider: str) -> str:
    if provider.startswith("CUDA"):
        return (
            f"install the CUDA and cuDNN versions this onnxruntime-gpu was built for ({pip_install('gpu')}) and a "
            "driver that supports them, or use --device cpu"
        )
    if provider.startswith("Tensorrt"):
        return f"{install_tensorrt()}, or use --device cuda; auto never picks TensorRT"
    return pip_packages("onnxruntime", reinstall=True)


def gpu_findings() -> Iterator[Finding]:
    """Check NVIDIA GPUs and the packages that use them. A machine without a GPU is no problem."""
    gpus = hardware.gpus()
    hint = ""
    if isinstance(gpus, str):
        yield Finding("gpu", "note", f"{gpus}; the CPU is used")
    else:
        for gpu in gpus:
            text = f"{gpu.name}, compute {gpu.capability}, {gpu.memory_mib} MiB, driver {gpu.driver}"
            yield Finding("gpu", "ok", text)
        hint = install_tensorrt(driver_cuda(gpus[0].driver))
        if "onnxruntime-gpu" not in hardware.onnxruntime_wheels():
            yield Finding("gpu", "warning", "a GPU is here, but onnxruntime-gpu is not installed",
                          f"pip uninstall -y onnxruntime; {pip_install('gpu')}")
    for topic, code in (("tensorrt", TENSORRT_CODE), ("cuda-python", CUDA_CODE)):
        try:
            yield Finding(topic, "ok", imported(code))
        except ModuleNotFoundError:
            yield Finding(topic, "note", "not installed; needed for .plan engines only", hint)
        except ImportError as error:
            yield Finding(topic, "warning", f"cannot be imported: {error}", hint or pip_packages(topic, reinstall=True))
    if not isinstance(gpus, str):
        yield from cuda_findings(gpus[0].driver)


def cuda_findings(driver: str) -> Iterator[Finding]:
    """Compare the major versions of CUDA of the driver, TensorRT, cuda-python and onnxruntime-gpu.

    Args:
        driver: its version, as nvidia-smi gives it.
    """
    packages, cuda = cuda_packages(), driver_cuda(driver)
    if cuda is None:
        fix = f"update the NVIDIA driver to {min(MIN_DRIVER.values())} or later"
        yield Finding("cuda", "warning", f"driver {driver} is too old", fix)
        return
    wrong = misfits(cuda, packages)
    listed = ", ".join(f"{package} (CUDA {package.cuda})" for package in packages)
    text = f"driver {driver} runs CUDA {cuda}" + (f"; installed: {listed}" if packages else "")
    if wrong:
        names = " ".join(package.name for package in wrong)
        yield Finding("cuda", "warning", f"{text}; these do not fit together",
                      f"pip uninstall -y {names}; {install_tensorrt(cuda)}")
    else:
        yield Finding("cuda", "ok", text)


def imported(code: str) -> str:
    """Import a package in a process of its own.

    Args:
        code: Python that imports the package and prints its version.

    Returns:
        The version.

    Raises:
        ModuleNotFoundError: the package is not installed.
        ImportError: the package is installed but does not load.
    """
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    except subprocess.TimeoutExpired:
        raise ImportError("no answer within two minutes") from None
    if done.returncode == 0:
        return done.stdout.strip()
    last = last_line(done.stderr or f"exit {done.returncode}")
    raise (ModuleNotFoundError if last.startswith("ModuleNotFoundError") else ImportError)(last)


def engine_findings(path: str | Path | None, device: str) -> Iterator[Finding]:
    """Load an engine, which checks hash and manifest, and compare its score of the golden image with the manifest's.

    Args:
        path: the engine, None for the bundled one.
        device: as `load_engine`.
    """
    import numpy as np

    from ..core.golden import golden_image
    from ..engines.load import load_engine
    from ..scoring.record import engine_label
    from ..scoring.verdict import Decision

    try:
        engine = load_engine(path, device)
    except CinemaeError as error:
        yield Finding("engine", "problem", str(error))  # these messages end with their fix
        return
    manifest = engine.manifest
    yield Finding("engine", "ok", f"{engine_label(manifest)} on {engine.provider}: {engine.path} (--card tells more)")
    if Decision.of(manifest.calibration).uncalibrated:
        text = "none is calibrated: verdicts have no known error rate"
        yield Finding("thresholds", "note", text, "cinemae-train calibrate CHECKPOINT, then export it again")
    for note in engine.notes:
        yield Finding("engine", "warning", note, "see the provider's finding above")
    try:
        image = golden_image(manifest.preprocess.crop)
        start = time.perf_counter()
        alone = float(engine.infer(image[None]).logit[0])
        seconds = time.perf_counter() - start
        pair = engine.infer(np.stack([image[::-1], image])).logit
    except CinemaeError as error:
        yield Finding("self-test", "problem", str(error), "try --device cpu; if it works, the GPU is set up wrongly")
        return
    finally:
        engine.close()
    if abs(float(pair[1]) - alone) > max(
        BATCH_TOLERANCE * max(abs(alone), 1), manifest.golden.tolerance if manifest.golden else 0
    ):
        text = f"the golden image alone scores {alone:.6f}, in a batch {float(pair[1]):.6f}"
        yield Finding("self-test", "problem", text, "export the engine again; use this one with --batch-size 1")
    golden = manifest.golden
    if golden is None:
        yield Finding("self-test", "warning", f"scores {alone:.6f}, but the manifest holds no expected score",
                      "export the engine again with this release")
        return
    off = abs(alone - golden.logit)
    text = f"golden image: {alone:.6f}, expected {golden.logit:.6f}, off by {off:.1e} (allowed {golden.tolerance:.1e})"
    if off <= golden.tolerance:  # NaN is not
        yield Finding("self-test", "ok", f"{text}; first inference {seconds * 1000:.0f} ms")
    else:
        yield Finding("self-test", "problem", text, "reinstall onnxruntime or try another --device")
