"""The command `cinemae-train`: from photographs and labelled images to a calibrated, evaluated checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ...runtime.cli.common import Version, command_app, run_command
from ...runtime.core.environment import pip_install
from ...runtime.core.errors import ExitCode
from . import studies
from .evaluate import evaluate
from .extract import extract
from .fit import calibrate, fit
from .pretrain import pretrain

TRAIN_PACKAGES = ("torch", "torchvision", "timm", "safetensors", "sklearn", "scipy", "matplotlib", "huggingface_hub")

app = command_app(no_args_is_help=True)


@app.callback()
def _root(version: Version = False) -> None:
    """Train, calibrate and study CINEMAE detectors."""


for command in (pretrain, extract, fit, calibrate):
    app.command()(command)
app.command("eval")(evaluate)
for command in studies.COMMANDS:
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: user errors go to stderr without a traceback, a missing package with its pip line."""
    try:
        run_command(app, arguments, one_line=False)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAIN_PACKAGES:
            raise
        print(f"error: {error.name} is missing; install it with: {pip_install('train')}", file=sys.stderr)
        raise SystemExit(ExitCode.ENGINE_OR_ENVIRONMENT) from None


if __name__ == "__main__":
    main()
