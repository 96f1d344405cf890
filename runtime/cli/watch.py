"""`cinemae watch`: score the new files of folders."""

from __future__ import annotations

from functools import partial

from ..scan.options import WatchOptions
from .common import Version, command_app, score_and_exit
from .expand import expanded

app = command_app()


@app.command()
@expanded
def watch(options: WatchOptions, version: Version = False) -> None:
    """Score new files in the given folders once they are complete, until Ctrl-C or SIGTERM.

    Exit codes: 0 all scored, 1 some inputs failed, 2 usage, 3 engine or environment, 4 AI found or declared
    under --fail-on-ai or --fail-on-declared.
    """
    from ..scan.watch.scan import scan_folders

    score_and_exit(partial(scan_folders, options))
