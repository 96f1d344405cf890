"""What is around the process: how packages are installed, this package's version, CPUs, names of devices."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from .errors import MissingDependencyError, UsageError

Device = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
DEVICES: tuple[str, ...] = get_args(Device)

FEATURES = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "i8mm", "bf16"
)
BF16 = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
"""Instruction sets that multiply bfloat16; without them it is slower than float32."""

CUDA_OF_JETPACK = {12: "12.6", 13: "13.2"}
"""CUDA of JetPack 6.1 and 6.2, and of 7.2."""

ON_INDEX = False
"""Whether a package index has `cinemae`. Until then, pip installs it from its source tree."""


def check_device(device: str) -> None:
    """Raise UsageError for a device that is none of `DEVICES`; OpenVINO's own may follow it, as in openvino:GPU."""
    name, colon, own = device.partition(":")
    if name not in DEVICES or (colon and (name != "openvino" or not own)):
        raise UsageError(f"unknown device {device!r}: use one of {', '.join(DEVICES)}")


def pip_install(extras: str, *others: str) -> str:
    """The command that installs cinemae with extras.

    Args:
        extras: names of extras, separated by commas.
        others: further packages, as pip takes them.
    """
    packages = " ".join(f"'{name}'" for name in (f"{'cinemae' if ON_INDEX else '.'}[{extras}]", *others))
    return f"pip install {packages}" if ON_INDEX else f"pip install {packages} in the source tree of cinemae"


def require(purpose: str, extra: str, *modules: str) -> None:
    """Import the modules that `purpose` needs, all of them from one extra of cinemae.

    Raises:
        MissingDependencyError: a module is missing; the message gives the pip command.
    """
    for name in modules:
        try:
            import_module(name)
        except ImportError as error:
            raise MissingDependencyError(f"{purpose} needs {error.name or name}: {pip_install(extra)}") from None


def pip_packages(*names: str, reinstall: bool = False) -> str:
    """The command that installs packages of others, over installed versions if `reinstall`."""
    quoted = (f"'{name}'" if "[" in name else name for name in names)
    return f"pip install {'--force-reinstall ' if reinstall else ''}{' '.join(quoted)}"


def is_jetson() -> bool:
    """Whether this is an NVIDIA Jetson. Jetson Linux names its kernels so, which containers see too."""
    return "tegra" in platform.release()


def this_platform() -> str:
    """System and machine, "linux x86_64" for instance; "linux aarch64 tegra" on a Jetson. Plans cross no platforms."""
    return f"{sys.platform} {platform.machine()}{' tegra' if is_jetson() else ''}"


def install_tensorrt(cuda: int | None = None) -> str:
    """The command that installs TensorRT, cuda-python and onnxruntime-gpu in versions that fit each other.

    Args:
        cuda: major version of CUDA that the driver supports; None names both pairs.
    """
    if is_jetson():
        versions = [CUDA_OF_JETPACK[cuda]] if cuda else CUDA_OF_JETPACK.values()
        packages = " or ".join(f"'cuda-python=={version}.*'" for version in versions)
        return f"use JetPack's own TensorRT and pip install {packages} (docs/exporting.md, Jetson)"
    if cuda is not None:
        return pip_install(f"tensorrt-cu{cuda}")
    return f"{pip_install('tensorrt-cu13')} (drivers before 580: 'tensorrt-cu12')"


def onnxruntime_for_gpus() -> str:
    """How to get an onnxruntime for NVIDIA's GPUs; the wheels of package indexes are not for a Jetson."""
    if is_jetson():
        return "install an onnxruntime-gpu that is made for this JetPack's CUDA and cuDNN"
    return pip_install("gpu")


def cinemae_version() -> str:
    """The installed version; `0+source` for a source tree that is not installed."""
    try:
        return version("cinemae")
    except PackageNotFoundError:
        return "0+source"


def proc(name: str) -> str:
    """The text of a file in /proc, "" where the system has no such file."""
    try:
        return Path("/proc", name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cpu_features() -> list[str]:
    """Instruction sets of this CPU that make inference fast; empty where the system does not list them."""
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", proc("cpuinfo"), re.MULTILINE)
    flags = set(line[1].split()) if line else set()
    return [flag for flag in FEATURES if flag in flags]


def lacks_bf16() -> bool:
    """Whether this CPU multiplies no bfloat16 natively, by its list of instruction sets; False without a list."""
    features = cpu_features()
    return bool(features) and BF16.isdisjoint(features)


def _allowed_cpus() -> int:
    """CPUs that this process may be scheduled on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def cpu_quota(root: Path = Path("/")) -> float:
    """CPUs whose time the control groups of this process allow, such as 1.5; infinite without a limit.

    Each group and the groups above it have a limit: `cpu.max` in version 2, two files in version 1. A container sees
    its own group at the root of the mount. Source: the kernel's cgroup-v2.rst and sched-bwc.rst.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:
        return math.inf
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            mount, inside = root / "sys/fs/cgroup" / controllers, PurePosixPath(path.lstrip("/"))
            limits += [_limit(mount / group) for group in (inside, *inside.parents) if ".." not in group.parts]
    return min(limits, default=math.inf)


def _limit(group: Path) -> float:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):
            quota, period = " ".join((group / name).read_text("ascii") for name in names).split()
            return math.inf if quota in ("max", "-1") else int(quota) / int(period)
    return math.inf


def usable_cpus() -> int:
    """CPUs this process may run on, at least 1; a quota of control groups is rounded up."""
    return max(1, math.ceil(min(_allowed_cpus(), cpu_quota())))


def quota_threads() -> int | None:
    """Threads for a backend, which would count all CPUs although a quota allows less; None without such a quota."""
    cpus = usable_cpus()
    return cpus if cpus < _allowed_cpus() else None
