"""`cinemae report`: make a page from records."""

from __future__ import annotations

from ..scan.options import PageOptions
from .common import Version, command_app
from .expand import expanded

app = command_app()


@app.command()
@expanded
def report(options: PageOptions, version: Version = False) -> None:
    """Make the page of records that were written before, without scoring; images are shown where they still lie.

    Exit codes: 0 written, 2 usage, 3 the page cannot be written.
    """
    from ..core.text import display_name
    from ..scan.page import page

    out, count, missing = page(options)
    pictures = f"; {missing:,} without a picture: the image is gone or another one now" if missing else ""
    print(f"{display_name(str(out))}: {count:,} records{pictures}")
