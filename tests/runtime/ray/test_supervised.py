"""What becomes of a run's process becomes of the command; an end without Python's exit is one sentence."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from cinemae.runtime.ray.supervised import DIED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs are supervised on Linux only")

RUN = """
import os, signal, sys, time, typer
from cinemae.runtime.cli.common import run_command
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.ray.supervised import supervise
app = typer.Typer(pretty_exceptions_enable=False)
@app.command()
def run():
    supervise('do it again')
    print(sys.stdin.read(), flush=True)
    {ends}
run_command(app, [])
"""


@pytest.mark.parametrize(
    ("ends", "code", "says"),
    [
        ("os._exit(1)", 3, f"error: {DIED}; do it again\n"),
        ("raise typer.Exit(4)", 4, ""),
        ("raise UsageError('wrong')", 2, "error: wrong\n"),
        ("return", 0, ""),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
    ],
)
def test_the_commands_end_is_that_of_the_run(ends, code, says):
    command = [sys.executable, "-c", RUN.format(ends=ends)]
    result = subprocess.run(command, input="read", capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (code, "read\n", says)


def test_sigterm_reaches_the_run():
    # Many short sleeps: a signal between two lines is seen after the sleep that follows it.
    ends = (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); print('ready', flush=True)\n"
        "    for _ in range(600): time.sleep(0.1)"
    )
    command = [sys.executable, "-c", RUN.format(ends=ends)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert "ready" in process.stdout.readline() + process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 9
