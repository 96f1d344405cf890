"""CPU, memory, disk, NVIDIA GPUs and installed packages of this machine, found without importing the packages."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

NVIDIA_SMI_SECONDS = 20.0
FEATURES = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "i8mm", "bf16"
)
ORT_WHEEL = re.compile(r"(ort-nightly|onnxruntime)-?(gpu|openvino|directml|rocm|qnn|training.*)?")


@dataclass(frozen=True)
class InstalledGpu:
    """One GPU as nvidia-smi lists it.

    Attributes:
        name: the model.
        driver: version of the driver.
        memory_mib: total memory in MiB.
        capability: compute capability, for example "9.0".
    """

    name: str
    driver: str
    memory_mib: str
    capability: str


def cpu_name() -> str:
    """The CPU's model name where the system gives it, else its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_features() -> list[str]:
    """Instruction sets of this CPU that make inference fast; empty where the system does not list them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    flags = set(line[1].split()) if line else set()
    return [flag for flag in FEATURES if flag in flags]


def memory_gib() -> tuple[float, float] | None:
    """(available, total) GiB, or None where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    lines = re.findall(r"^(MemAvailable|MemTotal):\s+(\d+) kB", text, re.MULTILINE)
    values = {key: int(kib) / 2**20 for key, kib in lines}
    return (values["MemAvailable"], values["MemTotal"]) if len(values) == 2 else None


def disk_free_gib(path: str | Path) -> float:
    """Free space of the file system that holds `path`."""
    return shutil.disk_usage(path).free / 2**30


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
