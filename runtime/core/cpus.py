"""The number of CPUs: what the operating system lets this process use, not what the machine has."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """CPUs this process may run on, at least 1."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
