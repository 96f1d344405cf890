"""The command `cinemae-train`: from photographs and labelled images to a calibrated, evaluated checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from ...runtime.cli.common import Version, command_app, run_command
from . import studies
from .evaluate import eval_command
from .extract import extract_command
from .fit import calibrate_command, fit_command
from .pretrain import pretrain_command

app = command_app(no_args_is_help=True)


@app.callback()
def _root(version: Version = False) -> None:
    """Train, calibrate and study CINEMAE detectors."""


for command in (
    pretrain_command, extract_command, fit_command, calibrate_command, eval_command, *studies.COMMANDS
):
    app.command(command.__name__.removesuffix("_command"))(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: errors that the user can fix go to stderr without a traceback."""
    run_command(app, arguments)


if __name__ == "__main__":
    main()
