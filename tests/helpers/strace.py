"""Whether commands can be traced here."""

import shutil
import subprocess
from pathlib import Path


def can_trace(folder: Path) -> bool:
    """Whether strace is installed and may trace here."""
    command = ["strace", "-o", str(folder / "probe"), "true"]
    return bool(shutil.which("strace")) and subprocess.run(command, capture_output=True).returncode == 0
