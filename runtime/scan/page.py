"""`cinemae report`: the page of records that were written before, with the pictures that still lie where they lay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..core.environment import usable_cpus
from ..core.errors import UsageError
from ..core.read_ahead import read_ahead
from ..core.text import display_name
from ..engines.load import read_engine_manifest
from ..report.html import ReportWriter
from ..scoring.options import ScoringOptions
from ..scoring.prepare import Preparer
from .options import PageOptions
from .resume import kept, read_lines
from .targets import Targets


def page(options: PageOptions) -> tuple[Path, int, int]:
    """Write the page; pictures come without heatmaps, which records do not hold.

    Returns:
        Path of the page, records, and how many of them have no picture: the image is gone, or another one now.

    Raises:
        UsageError: no records of this schema, or of another engine; a name that cannot be a page's.
        OutputError: the page cannot be written.
    """
    where, out = display_name(str(options.records)), options.out or options.records.with_suffix(".html")
    if not options.records.is_file():
        raise UsageError(f"{where}: no such file; name the JSON lines that cinemae run --out wrote")
    Targets(report=out).check([str(options.records)], options.engine)
    _, first = next(read_lines(options.records), (b"", None))
    if first is None:
        raise UsageError(f"{where}: does not hold records of this schema; name the JSON lines of cinemae run --out")
    run, manifest = first.run, read_engine_manifest(options.engine)
    if run.engine != manifest.label:
        raise UsageError(f"{where}: was made with {run.engine}, not {manifest.label}; name that engine with --engine")
    prepare = Preparer.of(manifest, ScoringOptions(frames=run.max_frames, tiles=run.tiled, decode=run.decode))
    count = missing = 0
    workers = usable_cpus()
    with ThreadPoolExecutor(workers) as pool, ReportWriter(out, manifest, run, title=options.records.stem) as report:
        records = (record for _, record in read_lines(options.records))
        for record, future in read_ahead(pool, lambda one: prepare(one.path), records, 2 * workers):
            again = kept(record, future.result())
            picture = again.picture(record) if again.previous is not None else None
            report.add(record, picture)
            count, missing = count + 1, missing + (record.status == "ok" and picture is None)
    return out, count, missing
