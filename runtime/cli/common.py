"""Options that several commands share, and how an error that the user can fix ends a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ..core.environment import DEVICES


def only_with(other: str, there: bool, **options: bool) -> None:
    """Refuse options that do nothing without `other`, instead of leaving them unused.

    Args:
        other: what they belong to, for the message.
        there: whether the command line has it.
        options: name of each option -> whether it was given.

    Raises:
        UsageError: one is given without `other`.
    """
    if not there and (given := [f"--{name.replace('_', '-')}" for name, used in options.items() if used]):
        from ..core.errors import UsageError

        raise UsageError(f"{', '.join(given)}: only with {other}")


EngineFile = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="An .onnx or .plan file, a folder of parts, or hf://org/repo/file.onnx. Default: the bundled engine.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar=f"[{'|'.join(DEVICES)}]", help="Where the engine runs; only auto falls back to another device."
    ),
]
def command_app(help: str | None = None, no_args_is_help: bool = False) -> typer.Typer:
    """A command: `-h` beside `--help`, shell completion, and plain text, so that `--help` imports nothing heavy."""
    return typer.Typer(
        help=help, no_args_is_help=no_args_is_help, context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False, rich_markup_mode=None,
    )


def print_version(wanted: bool) -> None:
    """Callback of an eager option: print the installed version and end the command."""
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"cinemae {version('cinemae')}")
        except PackageNotFoundError:
            print("cinemae (not installed: running from its source tree)")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
]


def open_standard_streams() -> None:
    """Open what the caller has closed: else the next file that is opened becomes stdout or stderr, and gets its text.

    Whatever is written to a stdout that was closed fails, so that no record is lost silently.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def run_command(app: typer.Typer, arguments: Sequence[str] | None = None, one_line: bool = True) -> None:
    """Run a command; a CinemaeError becomes one message on stderr and its exit code.

    Args:
        app: the command.
        arguments: the command line, by default that of the process.
        one_line: escape line ends in the message too, because it quotes names from files.
    """
    from ..core.errors import CinemaeError
    from ..core.text import printable

    open_standard_streams()
    try:
        app(args=arguments)
    except CinemaeError as error:
        print(f"error: {printable(str(error)) if one_line else error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
