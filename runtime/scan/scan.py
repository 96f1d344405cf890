"""`cinemae run`: inputs through the detector into the outputs, and the exit code."""

from __future__ import annotations

import sys
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
    format_name = options.output_format(sys.stdout.isatty())
    exclude = [] if options.heatmaps is None else [str(options.heatmaps)]
    inputs = Inputs(
        options.inputs, stdin, null=options.null, exclude=exclude, allow_url=options.allow_url,
        stdin_image=options.stdin_image,
    )
    with Session(options, options.inputs, format_name, append=options.resume) as session:
        prepare, earlier = None, None
        if options.resume and options.out is not None:
            earlier = Earlier(options.out, session.detector)
            prepare = earlier.prepare
        session.consume(session.score(inputs, prepare), inputs.count if inputs.countable else None)
        if not session.tally.total and not options.allow_empty:
            raise UsageError(_nothing_scored(inputs))
        for name in inputs.empty:
            session.say(f"warning: {display_name(name)}: holds no images")
        if skipped := inputs.skipped.summary():
            session.say(f"note: {skipped}")
        code = session.finish()
        if earlier is not None:
            earlier.remove()
        return code


def _nothing_scored(inputs: Inputs) -> str:
    skipped = inputs.skipped.summary()
    names = ", ".join(map(display_name, inputs.empty)) or "the inputs"
    return f"{names}: no image to score{f'; {skipped}' if skipped else ''}; --allow-empty makes that a success"
