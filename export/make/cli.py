"""`cinemae make`: parse and call."""

from __future__ import annotations

import sys

from ...runtime.cli.common import Version, command_app
from ...runtime.cli.expand import expanded
from ...train.calibration.rates import Rates
from ...train.cli.shared import Machine
from .options import MakeOptions

app = command_app()

EXAMPLES = """\b
Examples:
  cinemae make mydata/ --backbone facebook/vit-mae-large           mydata/{train,test}/{real,fake}/
  cinemae make mydata/ more.csv --backbone backbone.safetensors    more data: what is computed already stays
"""


@app.command(epilog=EXAMPLES)
@expanded
def make(options: MakeOptions, rates: Rates, machine: Machine, version: Version = False) -> None:
    """Make a detector from labelled images: audit, extract, fit, calibrate, evaluate, export and check.

    It first says what it will do and how long that takes. The same command continues after a kill, and with more data
    computes only what is new.
    """
    from .make import make as make_engine

    try:
        print(make_engine(options, rates, machine))
    except KeyboardInterrupt:
        print("the same command continues", file=sys.stderr)
        raise
