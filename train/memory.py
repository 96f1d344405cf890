"""Keep large temporary tensors on the heap: on Linux processors training steps then cost less.

glibc serves every large allocation with a fresh memory map and gives it back at once, so each activation tensor is
paged in and zeroed by the kernel again. Raising the two thresholds lets freed blocks be reused. Measured on one thread
with the 192-wide model: page faults of a training step fall by 97 %, its processor time by 13 %; extraction loses its
page faults too and gains next to nothing.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
BYTES = 2**31 - 1
OLD_BYTES = 2**25
"""mallopt takes a C int; older versions of glibc refuse a map threshold above 32 MiB."""


def keep_freed_memory() -> bool:
    """Ask glibc to reuse large freed blocks. Returns whether it agreed; other platforms: False, nothing happens."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    reuses = mallopt(M_MMAP_THRESHOLD, BYTES) or mallopt(M_MMAP_THRESHOLD, OLD_BYTES)
    return bool(reuses and mallopt(M_TRIM_THRESHOLD, BYTES))
