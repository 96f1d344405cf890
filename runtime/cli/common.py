"""Options that several commands share, and how an error that the user can fix ends a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup


def command_app(
    help: str | None = None, no_args_is_help: bool = False, cls: type[TyperGroup] | None = None
) -> typer.Typer:
    """A command: `-h` beside `--help`, shell completion, and plain text, so that `--help` imports nothing heavy."""
    return typer.Typer(
        help=help, no_args_is_help=no_args_is_help, context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False, rich_markup_mode=None, cls=cls,
    )


def print_version(wanted: bool) -> None:
    """Callback of an eager option: print the installed version and end the command."""
    if wanted:
        from ..core.environment import cinemae_version

        print(f"cinemae {cinemae_version()}")
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


ON_INTERRUPT, ON_CLOSED_PIPE = 130, 141
"""128 + SIGINT and 128 + SIGPIPE, as shells report them."""


def score_and_exit(score: Callable[[], int]) -> NoReturn:
    """End the command with the exit code of `score`, or with that of an interrupt.

    Args:
        score: scores images.

    Raises:
        typer.Exit: always, but for the errors of `score`.
    """
    from ..images.library_messages import silence_libraries

    silence_libraries()
    try:
        code = score()
    except BrokenPipeError:
        # the reader of stdout has gone (`head`, for example): nothing may be flushed into the closed pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ON_CLOSED_PIPE
    except KeyboardInterrupt:
        code = ON_INTERRUPT
    raise typer.Exit(code)


TRAIN_PACKAGES = ("torch", "torchvision", "timm", "safetensors", "sklearn", "scipy", "matplotlib", "huggingface_hub")


def run_command(app: typer.Typer, arguments: Sequence[str] | None = None) -> None:
    """Run a command; a CinemaeError or a missing extra becomes one line on stderr and an exit code.

    Args:
        app: the command.
        arguments: the command line, by default that of the process.
    """
    from ..core.environment import pip_install
    from ..core.errors import CinemaeError, ExitCode
    from ..core.text import message

    open_standard_streams()
    try:
        app(args=arguments)
        return
    except SystemExit as ended:
        if ended.code == ON_INTERRUPT:
            print("interrupted", file=sys.stderr)
        raise
    except CinemaeError as error:
        text, code = str(error), error.exit_code
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAIN_PACKAGES:
            raise
        text = f"{error.name} is missing; install it with: {pip_install('train')}"
        code = ExitCode.ENGINE_OR_ENVIRONMENT
    print(message(f"error: {text}"), file=sys.stderr)
    raise SystemExit(code)
