"""The option `--ray [ADDRESS]`: parsing its optional value, and the check that Ray is installed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..core.environment import pip_install
from ..core.errors import MissingDependencyError

DEFAULT = "default"
"""The cluster named by the environment variable RAY_ADDRESS, else a new one on this machine."""
_ADDRESS = re.compile(r"local|auto|default|ray://\S+|[\w.\-]+:\d+|\[[0-9a-fA-F:]+\]:\d+")


def with_address(arguments: Sequence[str]) -> list[str]:
    """Insert the default address after each `--ray` that has none, so that the parser sees an option with a value.

    Args:
        arguments: the command line. The argument after `--ray` is taken for its value if it looks like an address.
    """
    completed: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return [*completed, *arguments[index:]]
        completed.append(argument)
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        if argument == "--ray" and not _ADDRESS.fullmatch(following):
            completed.append(DEFAULT)
    return completed


def require_ray() -> None:
    """Check that the packages of the extra `ray` are installed.

    Raises:
        MissingDependencyError: one is missing; the message gives the pip command.
    """
    try:
        import fsspec  # noqa: F401
        import pyarrow  # noqa: F401
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"--ray needs {error.name or error}: {pip_install('ray')}") from None
