"""What is around the process: how packages are installed, this package's version, usable CPUs, names of devices."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, get_args

from .errors import MissingDependencyError, UsageError

Device = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
DEVICES: tuple[str, ...] = get_args(Device)

ON_INDEX = False
"""Whether a package index has `cinemae`. Until then, pip installs it from its source tree."""


def check_device(device: str) -> None:
    """Raise UsageError for a device that is none of `DEVICES`."""
    if device not in DEVICES:
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


def install_tensorrt(cuda: int | None = None) -> str:
    """The command that installs TensorRT, cuda-python and onnxruntime-gpu in versions that fit each other.

    Args:
        cuda: major version of CUDA that the driver supports; None names both pairs.
    """
    if cuda is not None:
        return pip_install(f"tensorrt-cu{cuda}")
    return f"{pip_install('tensorrt-cu13')} (drivers before 580: 'tensorrt-cu12')"


def cinemae_version() -> str:
    """The installed version; `0+source` for a source tree that is not installed."""
    try:
        return version("cinemae")
    except PackageNotFoundError:
        return "0+source"


def usable_cpus() -> int:
    """CPUs this process may run on, at least 1."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
