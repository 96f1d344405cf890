"""One run of `cinemae-run`: inputs through the detector into the writers, and the exit code."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..cpus import usable_cpus
from ..detector import DEFAULT_BATCH, Detector
from ..display_text import display_name, printable
from ..errors import OutputError, UsageError
from ..pipeline import Prepare, Scored, decode_and_score
from ..progress import Progress
from ..sources import NamedSource
from .inputs import InputPath, Inputs
from .resume import preparer, resume, store_path
from .tally import Tally
from .writers import FORMATS, TableWriter, Writer, file_writer, stdout_writer

TABLE = "table"


@dataclass(frozen=True)
class ScanOptions:
    """The options of `cinemae-run`; None stands for the default that the command documents."""

    inputs: tuple[str, ...]
    engine: Path | None = None
    device: str = "auto"
    threads: int | None = None
    format: str | None = None
    out: Path | None = None
    threshold: float | None = None
    prior: float = 0.5
    batch_size: int = DEFAULT_BATCH
    workers: int | None = None
    heatmaps: Path | None = None
    report: Path | None = None
    resume: bool = False
    fail_on_ai: bool = False
    quiet: bool = False
    null: bool = False
    watch: bool = False
    settle: float = 2.0
    decode: str | None = None


def say(text: str) -> None:
    """A line on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def output_format(options: ScanOptions, terminal: bool) -> str:
    """`--format`, else the suffix of `--out`, else a table on a terminal and JSON lines elsewhere.

    Raises:
        UsageError: an unknown format, or options that contradict each other.
    """
    if options.format is not None and options.format not in FORMATS:
        raise UsageError(f"unknown format {options.format!r}: use one of {', '.join(FORMATS)}")
    suffix = options.out.suffix.lower().lstrip(".") if options.out else ""
    implied = suffix if suffix in FORMATS else "jsonl" if options.out or not terminal else TABLE
    chosen = options.format or implied
    if options.resume and (options.out is None or chosen != "jsonl"):
        raise UsageError("--resume continues a JSON-lines file: give --out FILE.jsonl")
    if options.watch and options.resume:
        raise UsageError("--watch continues --out by itself: leave out --resume")
    if options.watch and options.out is not None and chosen != "jsonl":
        raise UsageError("--watch appends JSON lines: give --out FILE.jsonl")
    if options.resume and options.report is not None:
        raise UsageError("--report shows every image, and --resume does not decode those already scored: leave one out")
    return chosen


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
    inputs = Inputs(options.inputs, stdin, options.null, exclude)
    _check_folders(options)
    workers = usable_cpus() if options.workers is None else options.workers
    if options.batch_size < 1 or workers < 1:
        raise UsageError(f"--batch-size and --workers must be at least 1, got {options.batch_size} and {workers}")
    with ExitStack() as stack:
        detector = stack.enter_context(
            Detector.load(
                options.engine, options.device, options.threads, options.threshold, background=True,
                prior=options.prior, decode=options.decode,
            )
        )
        if not options.quiet and detector.manifest.demonstration:
            say(f"note: {detector.label}: its verdicts are no evidence; name a real engine with --engine FILE")
        tally, start = Tally(), time.monotonic()
        if options.watch:
            scored = _watch_folders(options, detector, workers, exclude, stack)
        else:
            scored = _score_inputs(options, inputs, detector, workers, tally)
        console = _console() if format_name == TABLE else None
        writer = _writer(options, format_name, console, detector)
        total = inputs.count if inputs.countable and not options.watch else None
        progress = Progress("inputs", total, done=tally.kept, quiet=options.quiet, closing=False, console=console)
        extras = _extras(options, detector, stack)
        extras.append(_announcer(detector, options.quiet))
        _consume(scored, tally, writer, extras, stack.enter_context(progress))
        detector.wait()  # an unusable engine is an error even where no input ever reached it
    if options.out is not None and format_name == "jsonl":
        store_path(options.out).unlink(missing_ok=True)
    if not options.quiet:
        for name in inputs.empty:
            say(f"warning: {display_name(name)}: holds no images")
        say(tally.summary(time.monotonic() - start))
    return tally.exit_code(options.fail_on_ai)


def _score_inputs(
    options: ScanOptions, inputs: Inputs, detector: Detector, workers: int, tally: Tally
) -> Generator[Scored, None, None]:
    """Each input with its record, in order; those that `--resume` keeps in place are counted and passed over."""
    items: Iterable[InputPath] = inputs
    prepare: Prepare = detector.prepare
    if options.resume and options.out is not None and options.out.exists():
        resumed = resume(options.out, inputs, detector, workers, lambda record: tally.add(record, kept=True))
        items, prepare = resumed.rest, preparer(detector, resumed)
    sources = (NamedSource(item.path, item.path, item.error) for item in items)
    return decode_and_score(sources, prepare, detector.score, options.batch_size, workers)


def _watch_folders(
    options: ScanOptions, detector: Detector, workers: int, exclude: list[str], stack: ExitStack
) -> Generator[Scored, None, None]:
    """Each new file with its record, until a signal."""
    from .watch_scan import WatchOptions, score_new_files
    from .watcher import stop_on_signals

    stop = stack.enter_context(stop_on_signals())
    if not options.quiet:
        say(f"watching {', '.join(map(display_name, options.inputs))}; Ctrl-C or SIGTERM stops")
    watching = WatchOptions(
        options.inputs, options.settle, options.batch_size, workers, options.out, exclude=tuple(exclude)
    )
    return score_new_files(detector, watching, stop, say)


def _writer(options: ScanOptions, format_name: str, console: Any, detector: Detector) -> Writer:
    if options.out is not None:
        return file_writer(options.out, format_name, append=options.resume or options.watch)
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
            image, lcas = item.prepared.image, item.record.lcas
            if image is not None and lcas is not None and isinstance(item.source, NamedSource):
                pictures.add(item.source.name, image.pixels, lcas)

        extras.append(save)
    if options.report is not None:
        from ..report.html import ReportWriter

        title = _report_title(options.inputs)
        report = stack.enter_context(
            ReportWriter(options.report, detector.manifest, detector.decision, title=title, prior=options.prior)
        )

        def add(item: Scored) -> None:
            image = item.prepared.image
            report.add(item.record, None if image is None else image.pixels)
            report.provider = report.provider or detector.wait().provider

        extras.append(add)
    return extras


def _report_title(inputs: tuple[str, ...]) -> str:
    """The folder's name where a single folder is scored."""
    folder = os.path.basename(os.path.abspath(inputs[0]))
    return display_name(folder) if len(inputs) == 1 and folder and os.path.isdir(inputs[0]) else "Image report"


def _check_folders(options: ScanOptions) -> None:
    """Raise UsageError where a run would write among its own inputs."""
    if options.heatmaps is None:
        return
    target = os.path.realpath(options.heatmaps)
    for name in options.inputs:
        if os.path.isdir(name) and (os.path.realpath(name) + os.sep).startswith(target.rstrip(os.sep) + os.sep):
            raise UsageError(f"--heatmaps {options.heatmaps} holds the input {display_name(name)}: name another folder")
    options.heatmaps.mkdir(parents=True, exist_ok=True)  # it must exist to be left out when inputs are listed


def _consume(
    scored: Generator[Scored, None, None],
    tally: Tally,
    writer: Writer,
    extras: list[Callable[[Scored], None]],
    progress: Progress,
) -> None:
    """Drive the run; the writer is completed only when every input has its record."""
    try:
        with closing(scored):
            for item in scored:
                tally.add(item.record, kept=item.prepared.previous is not None)
                try:
                    writer.write(item.record)
                except BrokenPipeError:
                    raise
                except OSError as error:
                    raise OutputError(f"results cannot be written ({error.strerror or error})") from None
                for extra in extras:
                    extra(item)
                progress.advance()
        writer.finish()
    except BaseException:
        writer.abort()
        raise
