"""The version of this package, as records, report and server state it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def cinemae_version() -> str:
    """The installed version; `0+source` for a source tree that is not installed."""
    try:
        return version("cinemae")
    except PackageNotFoundError:
        return "0+source"
