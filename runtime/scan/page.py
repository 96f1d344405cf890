"""`cinemae report`: a page or a table of records that were written before; the page has the pictures still there."""

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
from .parquet import require_pyarrow
from .resume import kept, read_lines
from .targets import Targets
from .writers import file_writer

TABLES = ("csv", "json", "parquet")
"""Suffixes of `--out` that ask for the same records in another format."""


def page(options: PageOptions) -> tuple[Path, int, int]:
    """Write the page, whose pictures come without heatmaps, which records do not hold; or a table, by the suffix.

    Returns:
        Path, records, and how many of them have no picture on the page: the image is gone, or another one now.

    Raises:
        UsageError: no records of this schema, or of another engine; a name that cannot be a page's.
        MissingDependencyError: Parquet without pyarrow.
        OutputError: the page or the table cannot be written.
    """
    where, out = display_name(str(options.records)), options.out or options.records.with_suffix(".html")
    if not options.records.is_file():
        raise UsageError(f"{where}: no such file; name the JSON lines that cinemae run --out wrote")
    table = out.suffix.lower().lstrip(".") in TABLES
    targets = Targets(out=out) if table else Targets(report=out, report_option="--out")
    targets.check([str(options.records)], options.engine)
    _, first = next(read_lines(options.records), (b"", None))
    if first is None:
        raise UsageError(f"{where}: does not hold records of this schema; name the JSON lines of cinemae run --out")
    if table:
        return out, _table(options, out), 0
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


def _table(options: PageOptions, out: Path) -> int:
    """Write the records as CSV, JSON or Parquet; returns how many there are."""
    name, count = out.suffix.lower().lstrip("."), 0
    if name == "parquet":
        require_pyarrow()
    with file_writer(out, name, bom=options.csv_bom) as writer:
        for count, (_, record) in enumerate(read_lines(options.records), 1):  # noqa: B007
            writer.write(record)
        writer.finish()
    return count
