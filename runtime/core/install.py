"""How to install what is missing: one place, which the first release to a package index switches."""

from __future__ import annotations

ON_INDEX = False
"""Whether a package index has `cinemae`. Until then, pip installs it from its source tree."""


def pip_install(extras: str, *others: str) -> str:
    """The command that installs cinemae with extras.

    Args:
        extras: names of extras, separated by commas.
        others: further packages, as pip takes them.
    """
    packages = " ".join(f"'{name}'" for name in (f"{'cinemae' if ON_INDEX else '.'}[{extras}]", *others))
    return f"pip install {packages}" if ON_INDEX else f"pip install {packages} in the source tree of cinemae"


def pip_packages(*names: str, reinstall: bool = False) -> str:
    """The command that installs packages of others, over what is there if `reinstall`."""
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
