"""Commands under strace: what they write, and what they call."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,"
    "truncate,chmod,fchmodat,mknod,mknodat,network"
)
PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
ANYWHERE = re.compile(r"/dev/(null|tty|shm/.*|urandom)|/proc/(self|\d+)/.*")
"""Neither is a file on a disk. /dev/shm: semaphores and shared memory of worker processes, without names at the end."""


@dataclass(frozen=True)
class Traced:
    """code: the exit code. errors: stderr. written: paths from the working folder. sockets: calls on AF_INET."""

    code: int
    errors: str
    written: set[str]
    sockets: list[str]


def written(trace: str, folder: Path) -> set[str]:
    """The paths that a call changed, or opened to write, of those that succeeded."""
    found = set()
    for line in trace.splitlines():
        call = re.match(r"\d+ +(\w+)\(", line)
        reads = call is not None and call[1].startswith("open") and not re.search("O_WRONLY|O_RDWR|O_CREAT", line)
        if call is not None and not reads and " = -1 " not in line and call[1] in CALLS.split(","):
            for base, name in PATH.findall(line):
                path = os.path.normpath(folder / base / name)
                if not ANYWHERE.fullmatch(path):
                    found.add(os.path.relpath(path, folder))
    return found


def traced(place: Path, arguments: tuple[str, ...], use: Callable[[], None] | None = None) -> Traced:
    """A command to its end in `place`, with home and temporary folder beside it; `use` ends with its interrupt."""
    trace, home, scratch, pid = (place.parent / name for name in ("trace", "home", "scratch", "pid"))
    for folder in (home, scratch):
        folder.mkdir(exist_ok=True)
    command = ["strace", "-f", "-y", "-qq", "--seccomp-bpf", "-o", str(trace), "-e", f"trace={CALLS}"]
    command += ["sh", "-c", f'echo $$ > "{pid}"; exec "$@"', "sh", sys.executable, "-m", "cinemae", *arguments]
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {**kept, "HOME": str(home), "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=place, env=environment, text=True, **streams) as process:
        if use is not None:
            use()
            os.kill(int(pid.read_text()), signal.SIGINT)
        errors = process.communicate()[1]
    text = trace.read_text(errors="replace")
    found = {path for path in written(text, place) if not path.startswith(("../scratch", "../pid"))}
    return Traced(process.returncode, errors, found, [line for line in text.splitlines() if "AF_INET" in line])


def breaches(
    place: Path, name: str, arguments: tuple[str, ...], stated: tuple[str, ...], use: Callable[[], None] | None = None
) -> dict[str, tuple[set[str], list[str]]]:
    """What a command wrote outside of the `stated` paths, and its calls on sockets: none but those of a server."""
    done = traced(place, arguments, use)
    assert done.code in (0, 130), (name, done.errors)
    names = {re.sub(r"^\.(?!\.)", "", path) for path in done.written}  # "" is a file without a name
    outside = {path for path in names if not path.startswith(stated or ("none",)) and (path or not stated)}
    own = ("socket(", "127.0.0.1") if name == "serve" else ()
    calls = [line for line in done.sockets if "connect(" in line or not any(word in line for word in own)]
    print(f"{name}: {len(done.written)} paths written, {len(done.sockets)} calls on sockets")
    return {name: (outside, calls[:5])} if outside or calls else {}


def can_trace(folder: Path) -> bool:
    """Whether strace is installed and may trace here."""
    command = ["strace", "-o", str(folder / "probe"), "true"]
    return bool(shutil.which("strace")) and subprocess.run(command, capture_output=True).returncode == 0
