"""A Ray run in a forked process: where one of Ray's own processes dies, Ray ends its driver without an exception."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import time

from ..core.errors import EngineError

DIED = "Ray ended the run: one of its own processes died"
_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.05


def supervise(advice: str, interrupt: bool = False) -> None:
    """Go on in a forked process, while this one waits for its end; on Linux only, elsewhere nothing happens.

    To be called before Ray and an engine are loaded. The forked process dies with this one.

    Args:
        advice: how the command goes on after Ray has ended it.
        interrupt: SIGINT is passed on as well; to a process to which it does not matter that a terminal sends it again.

    Raises:
        SystemExit: in the waiting process, with the exit code of the other.
        EngineError: in the waiting process, if the other ended without passing through Python's exit.
    """
    if sys.platform != "linux":
        return
    reading, writing = os.pipe()
    passed_on = (signal.SIGTERM, signal.SIGHUP, *([signal.SIGINT] if interrupt else []))
    signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)  # until there is somebody to pass them on
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
        os.close(reading)
        atexit.register(os.write, writing, b".")
        return
    os.close(writing)
    if not interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both
    for number in passed_on:  # never ignored on the way: that would drop a signal that already waits
        signal.signal(number, lambda number, frame: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
    # A signal that comes just before a blocking wait would be passed on only after it.
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        time.sleep(_LOOK_S)
    code = os.waitstatus_to_exitcode(ended[1])
    if code > 0 and not os.read(reading, 1):
        raise EngineError(f"{DIED}; {advice}")
    if code < 0:  # ended by a signal: so does this process
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    raise SystemExit(code)
