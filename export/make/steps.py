"""The steps of `cinemae make`, remembered by the hash of what each read and wrote, so that a killed run continues."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...runtime.core.environment import cinemae_version
from ...runtime.core.files import file_sha256, write_text
from ...runtime.core.progress import step

NAMES = ("audit", "extract", "fit", "evaluate", "export", "report")


def title(name: str) -> str:
    """Number and name of a step."""
    return f"{NAMES.index(name) + 1}/{len(NAMES)} {name}"


def digest(*parts: Any) -> str:
    """Hex SHA-256 of anything that JSON, or `str`, can tell apart."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class Steps:
    """What was done with which inputs, in a file that every finished step rewrites.

    Args:
        path: the file, JSON.
        quiet: do not name the steps.
    """

    def __init__(self, path: Path, quiet: bool = False) -> None:
        self.path, self.quiet = path, quiet
        try:
            self.done: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            self.done = {}

    def say(self, text: str) -> None:
        """Print on stderr."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def shown(self, name: str) -> Iterator[None]:
        """Inside the block, the step is the one that progress is of."""
        self.say(title(name))
        with step(title(name)):
            yield

    def run(self, name: str, inputs: Any, work: Callable[[], Iterable[Path]]) -> None:
        """Do a step, but where it was done with the same inputs and its files are still as it wrote them.

        Args:
            name: one of `NAMES`.
            inputs: all that decides what the step writes; files by their hash.
            work: does the step and returns the files that it wrote.
        """
        key = digest(cinemae_version(), inputs)
        found = self.done.get(name, {})
        if found.get("inputs") == key and all(_unchanged(*one) for one in found["files"].items()):
            self.say(f"{title(name)}: done before")
            return
        with self.shown(name):
            files = work()
        self.done[name] = {"inputs": key, "files": {str(path): file_sha256(path) for path in files}}
        write_text(self.path, json.dumps(self.done, indent=1))


def _unchanged(path: str, sha256: str) -> bool:
    return Path(path).is_file() and file_sha256(path) == sha256
