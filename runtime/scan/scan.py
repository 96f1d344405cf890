"""`cinemae run`: inputs through the detector into the outputs, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import BinaryIO

from ..core.errors import UsageError
from ..core.text import display_name
from .inputs import Inputs
from .options import ScanOptions
from .resume import Earlier, refuse_to_cut, same_command
from .session import Session, say
from .targets import is_stream


def scan(options: ScanOptions, stdin: BinaryIO | None = None, labels: Mapping[str, str] | None = None) -> int:
    """Score everything and return the exit code.

    Args:
        options: the command's options.
        stdin: where the input `-` reads names from.
        labels: "ai" or "real", by the names of images whose true class the report shall show.

    Raises:
        UsageError, EngineError, MissingDependencyError: before the first record, or when the engine fails for good.
        OutputError: the records cannot be written.
    """
    inputs = Inputs(
        options.inputs, stdin, null=options.null, exclude=options.exclude, allow_url=options.allow_url,
        stdin_image=options.stdin_image,
    )
    with Session(options, labels) as session:
        grows = options.out if options.out and session.format == "jsonl" and not is_stream(options.out) else None
        if grows and not options.resume and not options.overwrite:
            refuse_to_cut(grows)
        table = options.out is not None and not grows and not is_stream(options.out)
        if table:
            session.say(
                f"note: {display_name(str(options.out))} is written at the end only; an interrupted run keeps nothing, "
                "with --out FILE.jsonl it can be resumed, and cinemae report makes CSV of that"
            )
        prepare = None
        if options.resume and options.out is not None:
            session.detector.wait()  # an engine that cannot be used moves no record
            prepare = Earlier(options.out, session.detector, options.report is not None).prepare
        try:
            session.consume(session.score(inputs, prepare), inputs.count if inputs.countable else None)
        except KeyboardInterrupt:
            lost = f"{display_name(str(options.out))} is written at the end only; " if table else ""
            how = "go on with:" if grows else f"{lost}with --out FILE.jsonl, --resume continues"
            say(f"{session.tally.total:,} inputs are done; {how}")
            if grows:  # whole, so that it can be copied
                print(same_command("--resume"), file=sys.stderr)
            raise
        if not session.tally.total and not options.allow_empty:
            raise UsageError(_nothing_scored(inputs))
        notes = [f"warning: {display_name(name)}: holds no images" for name in inputs.empty]
        if inputs.skipped.suffixes:
            notes.append(f"note: {inputs.skipped.summary()}")
        return session.finish(notes)


def _nothing_scored(inputs: Inputs) -> str:
    skipped = inputs.skipped.summary()
    names = ", ".join(map(display_name, inputs.empty)) or "the inputs"
    return f"{names}: no image to score{f'; {skipped}' if skipped else ''}; --allow-empty makes that a success"
