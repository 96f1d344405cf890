"""Detector and outputs of one run: every record is counted, written, drawn and reported, in order."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, closing
from types import TracebackType
from typing import Any

from ..core.progress import Progress
from ..core.text import display_name, message
from ..images.source import AnySource, NamedSource
from ..scoring.detector import Detector
from ..scoring.pipeline import Prepare, Scored, decode_and_score
from .options import SORTS, TABLE, RunOptions, ScanOptions
from .tally import Tally
from .targets import Targets, forget
from .writers import Writer, file_writer, stdout_writer

Extra = Callable[[Scored], None]


def say(text: str) -> None:
    """A message on stderr; lines end between words on a terminal."""
    print(message(text), file=sys.stderr, flush=True)


class Session:
    """Detector and outputs of `cinemae run` or `cinemae watch`; a context that closes them.

    Attributes:
        detector: of the run; its engine loads in the background.
        format: of the records.
        tally: counts of the records so far.
    """

    def __init__(self, options: RunOptions, labels: Mapping[str, str] | None = None) -> None:
        """Check the outputs; nothing is opened yet.

        Args:
            options: of the command.
            labels: "ai" or "real", by the names of images whose true class the report shall show.

        Raises:
            MissingDependencyError, OutputError, UsageError: as `RunOptions.output_format` and `Targets.check`.
        """
        self._labels = labels or {}
        self._options, self.format = options, options.output_format(sys.stdout.isatty())
        self._targets = Targets(options.out, options.report, options.heatmaps)
        self._targets.check(options.inputs, options.scoring.engine, any_suffix=options.format is not None)
        self._stack, self._start = ExitStack(), time.monotonic()
        self.tally = Tally()

    def __enter__(self) -> Session:
        with ExitStack() as stack:
            self.detector = stack.enter_context(Detector.load(self._options.scoring, background=True))
            self._console: Any = None
            if self.format == TABLE:
                from rich.console import Console

                self._console = Console()  # for table and bar: two would write over each other on the same terminal
            self._writer = self._open_writer(stack)
            self._stack = stack.pop_all()
        if self.detector.manifest.demonstration:
            label = self.detector.run.engine
            self.say(f"note: {label}: its verdicts are no evidence; name a real engine with --engine FILE")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, value, traceback)

    def say(self, text: str) -> None:
        """A line on stderr, unless `--quiet` was given."""
        if not self._options.quiet:
            say(text)

    def score(self, sources: Iterable[AnySource], prepare: Prepare | None = None) -> Generator[Scored, None, None]:
        """The record of each source, in order."""
        size = self._options.batch_size or self.detector.best_batch
        return decode_and_score(
            sources, prepare or self.detector.prepare, self.detector.begin, size, self._options.workers
        )

    def consume(self, scored: Generator[Scored, None, None], total: Callable[[], int] | None = None) -> None:
        """Drive the run to its end.

        Args:
            scored: what is scored.
            total: counts the inputs.

        Raises:
            EngineError, MissingDependencyError: the engine cannot be used, even where no input ever reached it.
            OutputError: a record cannot be written.
        """
        extras = self._extras()
        progress = Progress("inputs", total, quiet=self._options.quiet, closing=False, console=self._console)
        with progress, closing(scored):
            for item in scored:
                if not self.tally.total:  # the engine is loaded: it may have fallen back to another device
                    for note in self.detector.wait().notes:
                        self.say(f"note: {note}")
                self._writer.write(item.record)
                self.tally.add(item.record, kept=item.prepared.previous is not None)  # what an interrupt says is there
                for extra in extras:
                    extra(item)
                progress.advance()
        self.detector.wait()

    def finish(self, notes: Iterable[str] = ()) -> int:
        """Complete the outputs, say `notes` and what was done, and return the exit code.

        Raises:
            OutputError: an output cannot be completed.
        """
        self._writer.finish()
        if self._options.out is not None and self.format == "jsonl":
            forget(self._options.out)  # while this run still holds the lock
        self._stack.close()
        for line in (*notes, self.tally.summary(time.monotonic() - self._start), *self._targets.written()):
            self.say(line)
        return self.tally.exit_code(self._options.fail_on_ai, self._options.fail_on_declared)

    def _open_writer(self, stack: ExitStack) -> Writer:
        out, bom = self._options.out, self._options.csv_bom
        sort = self._options.sort if isinstance(self._options, ScanOptions) else SORTS[0]
        if out is not None:
            return stack.enter_context(file_writer(out, self.format, self._options.continues, bom))
        if self._console is not None:
            from .table import TableWriter, shared_folder, sorted_table

            table = TableWriter(self._console, self.detector.run, shared_folder(self._options.inputs))
            return table if sort == SORTS[0] else stack.enter_context(sorted_table(table, sort))
        return stdout_writer(sys.stdout.buffer, self.format, bom)

    def _extras(self) -> list[Extra]:
        """Called for each record after it is written: heatmaps and the report."""
        options = self._options
        extras: list[Extra] = []
        if options.heatmaps is not None:
            from ..report.heatmap_folder import heatmap_folder

            fixed = self.detector.manifest.heatmap_range
            draw = self._stack.enter_context(heatmap_folder(options.heatmaps, fixed, say, options.inputs))

            def save(item: Scored) -> None:
                pixels, lcas = item.prepared.picture(item.record), item.record.lcas
                if pixels is not None and lcas is not None and isinstance(item.source, NamedSource):
                    draw(item.source.name, pixels, lcas)

            extras.append(save)
        if options.report is not None:
            from ..report.html import ReportWriter

            page, detector, labels = options.report, self.detector, self._labels
            title = f"{detector.run.engine} on labelled images" if labels else _report_title(options.inputs)
            writer = ReportWriter(page, detector.manifest, detector.run, title=title, csv_bom=options.csv_bom)
            report = self._stack.enter_context(writer)

            def add(item: Scored) -> None:
                label = labels.get(item.source.name) if isinstance(item.source, NamedSource) else None
                report.add(item.record, item.prepared.picture(item.record), label)
                report.provider = report.provider or self.detector.wait().provider

            extras.append(add)
        return extras


def _report_title(inputs: tuple[str, ...]) -> str:
    """The folder's name where a single folder is scored."""
    folder = os.path.basename(os.path.abspath(inputs[0]))
    return display_name(folder) if len(inputs) == 1 and folder and os.path.isdir(inputs[0]) else "Image report"
