"""A Ray run in a forked process: where one of Ray's own processes dies, Ray ends its driver without an exception."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys

from ..errors import EngineError

ADVICE = "Ray ended the run: one of its own processes died; the same command with --resume scores what is missing"
_PR_SET_PDEATHSIG = 1


def supervise() -> None:
    """Go on in a forked process, while this one waits for its end; on Linux only, elsewhere nothing happens.

    To be called before Ray and an engine are loaded. The forked process dies with this one.

    Raises:
        SystemExit: in the waiting process, with the exit code of the other.
        EngineError: in the waiting process, if the other ended without passing through Python's exit.
    """
    if sys.platform != "linux":
        return
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.close(reading)
        atexit.register(os.write, writing, b".")
        return
    os.close(writing)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: os.kill(child, number))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code > 0 and not os.read(reading, 1):
        raise EngineError(ADVICE)
    if code < 0:  # ended by a signal: so does this process
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    raise SystemExit(code)
