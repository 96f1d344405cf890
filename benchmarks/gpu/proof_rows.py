"""Rows of the proof, appended as they are measured, and the loop that measures what is missing."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any


class Rows:
    """The measured rows, one JSON object a line with "stage" and "key"; a line cut off by a kill is measured again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: set[tuple[str, str]] = set()
        whole = path.read_bytes() if path.exists() else b""
        kept = whole[: whole.rfind(b"\n") + 1]
        if kept != whole:
            path.write_bytes(kept)
        for line in kept.splitlines():
            row = json.loads(line)
            self.found[row["stage"], row["key"]] = row

    def has(self, stage: str, key: str) -> bool:
        """Whether the row is measured; one that failed or was skipped is tried again."""
        self.asked.add((stage, key))
        row = self.found.get((stage, key))
        return row is not None and not {"error", "skipped"} & row.keys()

    def add(self, stage: str, key: str, **values: Any) -> None:
        """Append the row and make sure that it is on the disk."""
        row = {"stage": stage, "key": key, **values}
        self.asked.add((stage, key))
        self.found[stage, key] = row
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(json.dumps(row), file=sys.stderr, flush=True)


    def good(self) -> bool:
        """Whether the rows asked for since the start are there and passed; others are of another GPU, for instance."""
        rows = [self.found.get(key, {"error": ""}) for key in self.asked]
        return not any({"error", "skipped"} & row.keys() or row.get("passed") is False for row in rows)


class Skipped(Exception):
    """A measurement that this machine cannot make; the message says why and what would help."""


Measurement = tuple[str, Callable[[], dict[str, Any]]]
Stage = Callable[[argparse.Namespace, Rows], Generator[Measurement, None, None]]


def told(error: Exception) -> dict[str, Any]:
    """The values of a row that says what failed, or what is missing here."""
    if isinstance(error, Skipped):
        return {"skipped": str(error)}
    return {"error": f"{type(error).__name__}: {error}"[:500]}


def outcome(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a measurement gives; a proof goes on after a failure."""
    try:
        return measure()
    except Exception as error:
        return told(error)


def run_stage(name: str, stage: Stage, arguments: argparse.Namespace, rows: Rows, deadline: float) -> bool:
    """Measure what is missing; returns False if time ran out. A failure is a row, and the next measurement follows."""
    work = stage(arguments, rows)
    try:
        for key, measure in work:
            if rows.has(name, key):
                continue
            if time.monotonic() > deadline:
                return False
            rows.add(name, key, **outcome(measure))
    except Exception as error:  # between two measurements
        rows.add(name, "all", **told(error))
    finally:
        work.close()
    return True
