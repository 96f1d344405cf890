"""What can be known about `--ray` without Ray: its optional address, and what to install."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import MissingDependencyError

INSTALL = "pip install 'cinemae[ray]'"
DEFAULT = "default"
"""The cluster that RAY_ADDRESS names, or a new one on this machine."""
_ADDRESS = re.compile(r"local|auto|default|ray://\S+|[\w.\-]+:\d+|\[[0-9a-fA-F:]+\]:\d+")


def with_address(arguments: Sequence[str]) -> list[str]:
    """`--ray` may stand alone; then `default` is put behind it. What follows is an address when it looks like one."""
    found: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return [*found, *arguments[index:]]
        found.append(argument)
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        if argument == "--ray" and not _ADDRESS.fullmatch(following):
            found.append(DEFAULT)
    return found


def require_ray() -> None:
    """Check the extra.

    Raises:
        MissingDependencyError: with the pip line.
    """
    try:
        import fsspec  # noqa: F401
        import pyarrow  # noqa: F401
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"--ray needs {error.name or error}: {INSTALL}") from None
