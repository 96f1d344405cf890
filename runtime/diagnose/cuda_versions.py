"""Whether the driver, TensorRT, cuda-python and onnxruntime-gpu are made for the same major version of CUDA.

Nothing is imported: versions come from nvidia-smi and from the installed packages' metadata.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires

from . import hardware

MIN_DRIVER = {13: 580, 12: 525}
"""The oldest driver for each major version of CUDA, on Linux (CUDA release notes, minor version compatibility)."""


@dataclass(frozen=True)
class CudaPackage:
    """An installed package that needs CUDA.

    Attributes:
        name: the distribution, for pip.
        version: of the package.
        cuda: major version of CUDA that it is made for.
    """

    name: str
    version: str
    cuda: int

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def driver_cuda(driver: str) -> int | None:
    """The newest major version of CUDA that a driver runs, None for drivers that run none of `MIN_DRIVER`."""
    number = int((re.match(r"[0-9]+", driver) or ["0"])[0])
    return next((cuda for cuda, oldest in MIN_DRIVER.items() if number >= oldest), None)


def cuda_packages() -> list[CudaPackage]:
    """The installed packages whose major version of CUDA their metadata tells; TensorRT of a system's does not."""
    found = []
    for cuda in MIN_DRIVER:
        name = f"tensorrt-cu{cuda}"
        version = hardware.installed(name) or hardware.installed(f"{name}-libs")
        if version:
            found.append(CudaPackage(name, version, cuda))
    for name in ("cuda-bindings", "cuda-python"):
        version = hardware.installed(name)
        if version:
            found.append(CudaPackage(name, version, int(version.split(".")[0])))
            break
    version = hardware.installed("onnxruntime-gpu")
    cudnn = re.search(r"nvidia-cudnn-cu([0-9]+)", " ".join(_requirements("onnxruntime-gpu")))
    if version and cudnn:
        found.append(CudaPackage("onnxruntime-gpu", version, int(cudnn[1])))
    return found


def _requirements(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def misfits(cuda: int, packages: list[CudaPackage]) -> list[CudaPackage]:
    """Packages to replace so that all are made for one major version of CUDA that the driver runs.

    Args:
        cuda: the driver's major version.
        packages: see `cuda_packages`.
    """
    majors = {package.cuda for package in packages}
    if len(majors) <= 1 and all(major <= cuda for major in majors):
        return []
    return [package for package in packages if package.cuda != cuda]
