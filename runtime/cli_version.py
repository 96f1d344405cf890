"""The `--version` option that the commands share."""

from __future__ import annotations

import typer


def print_version(wanted: bool) -> None:
    """Callback of an eager option: print the installed version and end the command."""
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"cinemae {version('cinemae')}")
        except PackageNotFoundError:
            print("cinemae (not installed: running from its source tree)")
        raise typer.Exit
