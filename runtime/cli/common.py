"""What the commands share: the `--version` option, and how an error the user can fix ends a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

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


def run_command(app: typer.Typer, arguments: Sequence[str] | None = None, one_line: bool = True) -> None:
    """Run `app` on `arguments` (default: the process's). A CinemaeError becomes a message on stderr and its exit code.

    `one_line` escapes line ends too, for commands whose messages quote names out of files.
    """
    from ..display_text import printable
    from ..errors import CinemaeError

    try:
        app(args=arguments)
    except CinemaeError as error:
        print(f"error: {printable(str(error)) if one_line else error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
