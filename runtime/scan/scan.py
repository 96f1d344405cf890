"""One run of `cinemae-run`: inputs through the detector into the writers, and the exit code."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, BinaryIO

from ..core.environment import usable_cpus
from ..core.errors import UsageError
from ..core.files import writing
from ..core.progress import Progress
from ..core.text import display_name, printable
from ..images.source import NamedSource
from ..scoring.detector import Detector
from ..scoring.pipeline import Prepare, Scored, decode_and_score
from .inputs import Inputs
from .options import TABLE, ScanOptions, output_format
from .resume import named, preparer, resume, store_path
from .table import TableWriter
from .tally import Tally
from .targets import Targets
from .walk import InputPath
from .writers import Writer, file_writer, stdout_writer


def say(text: str) -> None:
    """A line on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def scan(options: ScanOptions, stdin: BinaryIO | None = None) -> int:
    """Score everything and return the exit code.

    Args:
        options: the command's options.
        stdin: where the input `-` reads names from.

    Raises:
        UsageError, EngineError, MissingDependencyError: before the first record, or when the engine fails for good.
        OutputError: the records cannot be written.
    """
    format_name = output_format(options, sys.stdout.isatty())
    exclude = [] if options.heatmaps is None else [str(options.heatmaps)]
    inputs = Inputs(options.inputs, stdin, options.null, exclude, options.allow_url, options.stdin_image)
    targets = Targets(options.out, options.report, options.heatmaps)
    targets.check(options.inputs, options.engine, any_suffix=options.format is not None)
    workers = usable_cpus() if options.workers is None else options.workers
    for option, count in (("--batch-size", options.batch_size), ("--workers", workers)):
        if count is not None and count < 1:
            raise UsageError(f"{option} must be at least 1, got {count}")
    with ExitStack() as stack:
        detector = stack.enter_context(
            Detector.load(
                options.engine, options.device, options.threads, options.threshold, background=True,
                prior=options.prior, decode=options.decode, frames=options.frames,
                tiles=options.tiles,
            )
        )
        console = _console() if format_name == TABLE else None
        writer = _writer(options, format_name, console, detector, stack)  # locked before --resume cuts the file
        if not options.quiet and detector.manifest.demonstration:
            say(f"note: {detector.label}: its verdicts are no evidence; name a real engine with --engine FILE")
        tally, start = Tally(), time.monotonic()
        if options.watch:
            scored = _watch_folders(options, detector, workers, exclude, stack)
        else:
            scored = _score_inputs(options, inputs, detector, workers, tally)
        total = inputs.count if inputs.countable and not options.watch else None
        progress = Progress("inputs", total, done=tally.kept, quiet=options.quiet, closing=False, console=console)
        extras = _extras(options, detector, stack)
        extras.append(_announcer(detector, options.quiet))
        with _aborted_on_error(writer):
            _consume(scored, tally, writer, extras, stack.enter_context(progress))
            detector.wait()  # an unusable engine is an error even where no input ever reached it
            if not tally.total and not options.watch and not options.allow_empty:
                raise UsageError(_nothing_scored(inputs))
            writer.finish()
        if options.out is not None and format_name == "jsonl":
            store_path(options.out).unlink(missing_ok=True)
    if not options.quiet:
        for name in inputs.empty:
            say(f"warning: {display_name(name)}: holds no images")
        if skipped := inputs.skipped.summary():
            say(f"note: {skipped}")
        for line in (tally.summary(time.monotonic() - start), *targets.written()):
            say(line)
    return tally.exit_code(options.fail_on_ai)


def _batch_size(options: ScanOptions, detector: Detector) -> int:
    """Images of one inference: as many as asked for, else as many as the engine does best."""
    return options.batch_size or detector.best_batch


def _score_inputs(
    options: ScanOptions, inputs: Inputs, detector: Detector, workers: int, tally: Tally
) -> Generator[Scored, None, None]:
    """Each input with its record, in order; those that `--resume` keeps in place are counted and passed over."""
    items: Iterable[InputPath] = inputs
    prepare: Prepare = detector.prepare
    if options.resume and options.out is not None and options.out.exists():
        with writing(options.out):
            resumed = resume(options.out, inputs, detector, workers, lambda record: tally.add(record, kept=True))
        items, prepare = resumed.rest, preparer(detector, resumed)
    return decode_and_score(map(named, items), prepare, detector.begin, _batch_size(options, detector), workers)


def _watch_folders(
    options: ScanOptions, detector: Detector, workers: int, exclude: list[str], stack: ExitStack
) -> Generator[Scored, None, None]:
    """Each new file with its record, until a signal."""
    from .watch.scan import WatchOptions, score_new_files
    from .watch.watcher import stop_on_signals

    stop = stack.enter_context(stop_on_signals())
    watching = WatchOptions(
        options.inputs, options.settle, _batch_size(options, detector), workers, options.out,
        exclude=tuple(exclude),
    )
    scored = score_new_files(detector, watching, stop, say)
    if not options.quiet:
        say(f"watching {', '.join(map(display_name, options.inputs))}; Ctrl-C or SIGTERM stops")
    return scored


def _writer(
    options: ScanOptions, format_name: str, console: Any, detector: Detector, stack: ExitStack
) -> Writer:
    if options.out is not None:
        return stack.enter_context(file_writer(options.out, format_name, append=options.resume or options.watch))
    if format_name == TABLE:
        return TableWriter(console, detector.reading)
    return stdout_writer(sys.stdout.buffer, format_name)


def _console() -> Any:
    """One console for table and bar: two would write over each other on the same terminal."""
    from rich.console import Console

    return Console()


def _announcer(detector: Detector, quiet: bool) -> Callable[[Scored], None]:
    """Prints the engine's notes once, at the first record: a fallback to another device, for example."""
    said = quiet

    def announce(_: Scored) -> None:
        nonlocal said
        if not said:
            said = True
            for note in detector.wait().notes:
                say(f"note: {note}")

    return announce


def _extras(options: ScanOptions, detector: Detector, stack: ExitStack) -> list[Callable[[Scored], None]]:
    """Called for each record after it is written: heatmaps and the report."""
    extras: list[Callable[[Scored], None]] = []
    if options.heatmaps is not None:
        from ..report.heatmap import fixed_scale
        from ..report.heatmap_folder import HeatmapFolder

        colours = fixed_scale(detector.manifest.heatmap_range)
        pictures = stack.enter_context(HeatmapFolder(options.heatmaps, colours, say, options.inputs))

        def save(item: Scored) -> None:
            pixels, lcas = item.prepared.picture(item.record), item.record.lcas
            if pixels is not None and lcas is not None and isinstance(item.source, NamedSource):
                pictures.add(item.source.name, pixels, lcas)

        extras.append(save)
    if options.report is not None:
        from ..report.html import ReportWriter

        title = _report_title(options.inputs)
        report = stack.enter_context(
            ReportWriter(options.report, detector.manifest, detector.decision, title=title, prior=options.prior)
        )

        def add(item: Scored) -> None:
            report.add(item.record, item.prepared.picture(item.record))
            report.provider = report.provider or detector.wait().provider

        extras.append(add)
    return extras


def _report_title(inputs: tuple[str, ...]) -> str:
    """The folder's name where a single folder is scored."""
    folder = os.path.basename(os.path.abspath(inputs[0]))
    return display_name(folder) if len(inputs) == 1 and folder and os.path.isdir(inputs[0]) else "Image report"


def _nothing_scored(inputs: Inputs) -> str:
    skipped = inputs.skipped.summary()
    names = ", ".join(map(display_name, inputs.empty)) or "the inputs"
    return f"{names}: no image to score{f'; {skipped}' if skipped else ''}; --allow-empty makes that a success"


@contextmanager
def _aborted_on_error(writer: Writer) -> Iterator[None]:
    try:
        yield
    except BaseException:
        writer.abort()
        raise


def _consume(
    scored: Generator[Scored, None, None],
    tally: Tally,
    writer: Writer,
    extras: list[Callable[[Scored], None]],
    progress: Progress,
) -> None:
    """Drive the run: each record is counted, written and handed to the extras."""
    with closing(scored):
        for item in scored:
            tally.add(item.record, kept=item.prepared.previous is not None)
            writer.write(item.record)
            for extra in extras:
                extra(item)
            progress.advance()
