"""Python on an emulated x86 CPU without AVX-512 and VNNI."""

import shutil
import subprocess
import sys

import pytest

QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
needs_emulator = pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 (Debian: qemu-user-static)")


def emulated(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code on a Haswell; /proc/cpuinfo stays that of the real CPU."""
    command = [QEMU, "-cpu", "Haswell-noTSX", sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
