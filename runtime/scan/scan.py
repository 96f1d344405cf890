"""`cinemae run`: inputs through the detector into the outputs, and the exit code."""

from __future__ import annotations

from typing import BinaryIO

from ..core.errors import UsageError
from ..core.text import display_name
from .inputs import Inputs
from .options import ScanOptions
from .resume import Earlier
from .session import Session


def scan(options: ScanOptions, stdin: BinaryIO | None = None) -> int:
    """Score everything and return the exit code.

    Args:
        options: the command's options.
        stdin: where the input `-` reads names from.

    Raises:
        UsageError, EngineError, MissingDependencyError: before the first record, or when the engine fails for good.
        OutputError: the records cannot be written.
    """
    inputs = Inputs(
        options.inputs, stdin, null=options.null, exclude=options.exclude, allow_url=options.allow_url,
        stdin_image=options.stdin_image,
    )
    with Session(options) as session:
        prepare = None
        if options.resume and options.out is not None:
            session.detector.wait()  # an engine that cannot be used moves no record
            prepare = Earlier(options.out, session.detector).prepare
        session.consume(session.score(inputs, prepare), inputs.count if inputs.countable else None)
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
