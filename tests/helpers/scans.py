"""Options of a run, for tests."""

from __future__ import annotations

from dataclasses import fields

from cinemae.runtime.scan.options import ScanOptions
from cinemae.runtime.scoring.options import ScoringOptions

SCORING = {item.name for item in fields(ScoringOptions)}


def scan_options(*inputs, **options) -> ScanOptions:
    """Options of a run on one thread of the CPU, which replaces earlier records; those of `ScoringOptions` are put into
    one."""
    options.setdefault("overwrite", not options.get("resume"))
    scoring = {"device": "cpu", "threads": 1, **{name: options.pop(name) for name in SCORING & options.keys()}}
    return ScanOptions(inputs=tuple(map(str, inputs)), scoring=ScoringOptions(**scoring), **options)
