"""`python -m cinemae`: name the commands."""

from __future__ import annotations

import sys
from importlib.metadata import version

COMMANDS = {
    "cinemae-run": "score images: one record each",
    "cinemae-train": "fit, evaluate and study a detector on your own data",
    "cinemae-export": "turn a checkpoint into an ONNX or TensorRT engine",
    "cinemae-serve": "score images over HTTP, with a page for people",
    "cinemae-doctor": "say what works on this machine, and how to fix the rest",
    "cinemae-bench": "measure latency and throughput on this machine",
}


def main() -> None:
    """Print version and commands; other arguments belong to the commands, so they are a usage error (exit 2)."""
    if sys.argv[1:] not in ([], ["-h"], ["--help"], ["--version"]):
        print("error: python -m cinemae takes no arguments; type a command: cinemae-run PHOTOS/", file=sys.stderr)
        raise SystemExit(2)
    print(f"cinemae {version('cinemae')}: detect AI-generated images by contextual anomaly\n")
    for name, purpose in COMMANDS.items():
        print(f"  {name:16}{purpose}")
    print("\nEach has --help. Start with: cinemae-run --demo")


if __name__ == "__main__":
    main()
