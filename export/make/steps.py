"""The steps of `cinemae make`, remembered by the hash of what each read and wrote, so that a killed run continues."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ...runtime.core.environment import cinemae_version
from ...runtime.core.files import file_sha256, write_text
from ...runtime.core.progress import step
from ..export import say

NAMES = ("audit", "extract", "fit", "evaluate", "export", "report")


def title(name: str) -> str:
    """Number and name of a step."""
    return f"{NAMES.index(name) + 1}/{len(NAMES)} {name}"


class Steps:
    """What was done with which inputs, in a file that every finished step rewrites.

    Args:
        path: the file, JSON.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.done: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            self.done = {}

    def run(self, name: str, inputs: Any, work: Callable[[], Iterable[Path]]) -> None:
        """Do a step, but where it was done with the same inputs and its files are still as it wrote them.

        Args:
            name: one of `NAMES`.
            inputs: all that decides what the step writes, for JSON or `str`; files by their hash.
            work: does the step and returns the files that it may have written.
        """
        text = json.dumps([cinemae_version(), inputs], sort_keys=True, default=str)
        key, found = hashlib.sha256(text.encode()).hexdigest(), self.done.get(name, {})
        if found.get("inputs") == key and found["files"] == _hashes(found["files"]):
            say(f"{title(name)}: done before")
            return
        say(title(name))
        with step(title(name)):
            files = work()
        self.done[name] = {"inputs": key, "files": _hashes(files)}
        write_text(self.path, json.dumps(self.done, indent=1))


def _hashes(paths: Iterable[str | Path]) -> dict[str, str]:
    return {str(path): file_sha256(path) for path in paths if Path(path).is_file()}
