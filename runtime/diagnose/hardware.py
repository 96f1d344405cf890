"""CPU, memory, NVIDIA GPUs and installed packages of this machine, found without importing the packages."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, requires, version

from ..core.environment import proc

NVIDIA_SMI_SECONDS = 20.0
ORT_WHEEL = re.compile(r"(ort-nightly|onnxruntime)-?(gpu|openvino|directml|rocm|qnn|training.*)?")
MIN_DRIVER = {13: 580, 12: 525}
"""The oldest driver for each major version of CUDA, on Linux (CUDA release notes, minor version compatibility)."""


@dataclass(frozen=True)
class InstalledGpu:
    """One GPU as nvidia-smi lists it; `capability` is its compute capability, for example "9.0"."""

    name: str
    driver: str
    memory_mib: str
    capability: str


@dataclass(frozen=True)
class CudaPackage:
    """An installed distribution that needs CUDA; `cuda` is the major version for which it is made."""

    name: str
    version: str
    cuda: int


def cpu_name() -> str:
    """The CPU's model name where the system gives it, else its architecture."""
    line = re.search(r"^model name\s*:(.*)$", proc("cpuinfo"), re.MULTILINE | re.IGNORECASE)
    return line[1].strip() if line else platform.processor() or platform.machine()


def cpu_advice(features: Collection[str]) -> str:
    """Which precision is fast on a CPU of these features, and which kernels fall back (benchmarks/cpu-vit-l.md)."""
    if "amx_bf16" in features:
        return "this CPU has AMX: an engine exported with --bf16 or --int8 runs about 4 times faster"
    if {"avx512_vnni", "avx_vnni"} & set(features):
        half = "; --bf16 2 times faster on AMD's Zen 5, slower on a Xeon without AMX"
        fast = half if "avx512_bf16" in features else ""
        return f"this CPU has VNNI: a ViT-L exported with --int8 runs about 3 times faster{fast}"
    if "avx2" in features:
        return "this CPU lacks VNNI: --int8 falls back to an exact kernel (0.6 of float32's time); bf16 is refused"
    return ""


def memory_gib() -> tuple[float, float] | None:
    """(available, total) GiB, or None where the system does not say."""
    kib = dict(re.findall(r"^(MemAvailable|MemTotal):\s+(\d+) kB", proc("meminfo"), re.MULTILINE))
    return (int(kib["MemAvailable"]) / 2**20, int(kib["MemTotal"]) / 2**20) if len(kib) == 2 else None


def gpus() -> list[InstalledGpu] | str:
    """The NVIDIA GPUs that nvidia-smi lists, or one line that says why there are none."""
    binary = shutil.which("nvidia-smi")
    if binary is None:
        return "no NVIDIA driver (nvidia-smi is not installed)"
    query = [binary, "--query-gpu=name,driver_version,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=NVIDIA_SMI_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi does not work ({type(error).__name__})"
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    listed = [InstalledGpu(*row) for row in rows if len(row) == 4]
    return listed or f"nvidia-smi finds no GPU ({(done.stdout + done.stderr).strip()[:120] or done.returncode})"


def installed(name: str) -> str | None:
    """Version of an installed distribution, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def onnxruntime_wheels() -> dict[str, str]:
    """Name -> version of every installed wheel with the module `onnxruntime`. Two such wheels break each other."""
    wheels = {}
    for distribution in distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if ORT_WHEEL.fullmatch(name):
            wheels[name] = distribution.version
    return dict(sorted(wheels.items()))


def driver_cuda(driver: str) -> int | None:
    """The newest major version of CUDA that a driver runs, None for drivers that run no version in `MIN_DRIVER`."""
    number = int((re.match(r"[0-9]+", driver) or ["0"])[0])
    return next((cuda for cuda, oldest in MIN_DRIVER.items() if number >= oldest), None)


def cuda_packages() -> list[CudaPackage]:
    """The installed packages whose metadata state a major version of CUDA. A TensorRT of the system states none."""
    found = []
    for cuda in MIN_DRIVER:
        name = f"tensorrt-cu{cuda}"
        if there := installed(name) or installed(f"{name}-libs"):
            found.append(CudaPackage(name, there, cuda))
    for name in ("cuda-bindings", "cuda-python"):
        if there := installed(name):
            found.append(CudaPackage(name, there, int(there.split(".")[0])))
            break
    if there := installed("onnxruntime-gpu"):
        cudnn = re.search(r"nvidia-cudnn-cu([0-9]+)", " ".join(requires("onnxruntime-gpu") or []))
        found += [CudaPackage("onnxruntime-gpu", there, int(cudnn[1]))] if cudnn else []
    return found
