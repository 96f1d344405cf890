"""The command `cinemae`: a subcommand is imported when it is called, so that `cinemae --help` stays instant."""

from __future__ import annotations

import os
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from .common import Version, command_app, run_command

COMMANDS = {
    "run": ("runtime.cli.run", "Score images: one record each."),
    "report": ("runtime.cli.report", "Make a page from records, without scoring again."),
    "watch": ("runtime.cli.watch", "Score the new files of folders."),
    "serve": ("runtime.cli.serve", "Score images over HTTP, with a page for people."),
    "ray": ("runtime.cli.ray", "Score images on a Ray cluster."),
    "make": ("export.make.cli", "Make a detector from your own labelled images, in one command."),
    "train": ("train.cli.train", "Fit, evaluate and study a detector on your own data."),
    "export": ("export.cli", "Turn a checkpoint into an ONNX or TensorRT engine."),
    "doctor": ("runtime.cli.doctor", "Say what works on this machine, and how to fix the rest."),
    "bench": ("runtime.cli.bench", "Measure latency and throughput on this machine."),
}
"""Name -> module that holds the command as `app`; purpose."""


class Commands(TyperGroup):
    """The commands by name; the list of them imports none."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        return typer.main.get_command(import_module(f"cinemae.{COMMANDS[cmd_name][0]}").app)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of the first argument.

        Raises:
            UsageError: there is none; the message names what was probably meant.
        """
        name = args[0]
        if name in COMMANDS or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        from ..core.errors import UsageError

        meant = [f"cinemae {one}" for one in get_close_matches(name, COMMANDS, 1)]
        meant += [f"cinemae run {name}"] if os.path.exists(name) else []
        hint = f"did you mean: {meant[0]}" if meant else "cinemae --help lists them"
        raise UsageError(f"there is no command {name!r}; {hint}")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in COMMANDS.items()])


app = command_app("Detect AI-generated images by contextual anomaly.", no_args_is_help=True, cls=Commands)


@app.callback(epilog="Each command has --help. Start with: cinemae run --demo")
def cinemae(version: Version = False) -> None:
    """Detect AI-generated images by contextual anomaly."""


def main() -> None:
    """Entry point of `cinemae` and of `python -m cinemae`."""
    run_command(app)
