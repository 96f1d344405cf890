"""Commands in processes of their own, forked from a process that has imported what `cinemae make` needs."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TextIO

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([
    "cinemae.runtime.cli.main", "cinemae.export.make.work", "cinemae.export.make.plan", "cinemae.export.make.card",
    "cinemae.export.checkpoint_export", "matplotlib.pyplot", "timm", "onnxruntime",
])


@contextmanager
def forked(folder: Path, *arguments: str) -> Iterator[tuple[BaseProcess, TextIO]]:
    """Run `cinemae` in `folder`: the process, and its stdout and stderr in one stream. Whatever still runs is killed.

    The process shares nothing with this one, and is as new as one of `python -m cinemae` but for its imports.
    """
    reader, writer = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_run, args=(str(folder), arguments, writer))
    process.start()
    writer.close()
    with os.fdopen(os.dup(reader.fileno()), encoding="utf-8") as printed:
        try:
            yield process, printed
        finally:
            process.kill()
            process.join()


def _run(folder: str, arguments: tuple[str, ...], writer: Connection) -> None:
    os.chdir(folder)
    for descriptor in (1, 2):
        os.dup2(writer.fileno(), descriptor)
    writer.close()
    sys.argv = ["cinemae", *arguments]
    from cinemae.runtime.cli.main import main

    main()
