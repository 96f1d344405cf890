"""The command `cinemae`: a subcommand is imported when it is called, so that `cinemae --help` stays instant."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "run": ("runtime.cli.run", "score images: one record each"),
    "watch": ("runtime.cli.watch", "score the new files of folders"),
    "serve": ("runtime.cli.serve", "score images over HTTP, with a page for people"),
    "ray": ("runtime.cli.ray", "score images on a Ray cluster"),
    "train": ("train.cli.train", "fit, evaluate and study a detector on your own data"),
    "export": ("export.cli", "turn a checkpoint into an ONNX or TensorRT engine"),
    "doctor": ("runtime.cli.doctor", "say what works on this machine, and how to fix the rest"),
    "bench": ("runtime.cli.bench", "measure latency and throughput on this machine"),
}
"""Name -> module whose `main` reads the rest of the command line; purpose."""


def usage() -> str:
    """The list of commands."""
    lines = "\n".join(f"  cinemae {name:<8}{purpose}" for name, (_, purpose) in COMMANDS.items())
    return (
        "Detect AI-generated images by contextual anomaly.\n\n"
        f"{lines}\n\nEach command has --help. Start with: cinemae run --demo"
    )


def main() -> None:
    """Entry point of `cinemae` and of `python -m cinemae`."""
    name, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in COMMANDS:
        sys.argv = [f"cinemae {name}", *rest]  # what help and messages call the command
        import_module(f"cinemae.{COMMANDS[name][0]}").main()
    elif name in ("-h", "--help"):
        print(usage())
    elif name == "--version":
        from ..core.environment import cinemae_version

        print(f"cinemae {cinemae_version()}")
    else:
        print(f"error: there is no command 'cinemae {name}'; cinemae --help lists them", file=sys.stderr)
        raise SystemExit(2)
