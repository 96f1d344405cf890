"""Commands under strace: the files they change, the sockets they use, the programs they start, what pickles name."""

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
HOOK = """
import os, sys

def hook(event, arguments, end=os.open(os.environ["PICKLES"], os.O_WRONLY | os.O_APPEND)):
    if event == "pickle.find_class":
        os.write(end, ".".join(map(str, arguments)).encode() + b"\\n")

sys.addaudithook(hook)
hook("pickle.find_class", ("this hook",))
"""
"""As sitecustomize.py: Python's unpickler tells every class and function that a pickle names. torch's own, which reads
tensors alone, tells none."""


def can_trace(folder: Path) -> bool:
    """Whether strace is installed and may trace here."""
    command = ["strace", "-o", str(folder / "probe"), "true"]
    return bool(shutil.which("strace")) and subprocess.run(command, capture_output=True).returncode == 0


@dataclass(frozen=True)
class Traced:
    """What a command did.

    Attributes:
        code: the exit code.
        errors: stderr.
        written: paths from the working folder.
        sockets: calls on AF_INET.
        started: programs, without the command itself.
        pickled: what pickles named.
    """

    code: int
    errors: str
    written: set[str]
    sockets: list[str]
    started: list[str]
    pickled: set[str]


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
    """A command to its end in `place`, with home and temporary folder there; `use` ends with its interrupt."""
    trace, home, scratch, pid, hook, pickles = (
        place.parent / name for name in ("trace", "home", "scratch", "pid", "hook", "pickles")
    )
    for folder in (home, scratch, hook):
        folder.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(HOOK)
    pickles.write_text("")
    command = ["strace", "-f", "-y", "-qq", "--seccomp-bpf", "-o", str(trace), "-e", f"trace={CALLS},execve"]
    command += ["sh", "-c", f'echo $$ > "{pid}"; exec "$@"', "sh", sys.executable, "-m", "cinemae", *arguments]
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {**kept, "HOME": str(home), "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1",
                   "PYTHONPATH": str(hook), "PICKLES": str(pickles)}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=place, env=environment, text=True, **streams) as process:
        if use is not None:
            use()
            os.kill(int(pid.read_text()), signal.SIGINT)
        errors = process.communicate()[1]
    text = trace.read_text(errors="replace")
    assert list(home.iterdir()) == [], (arguments, sorted(home.rglob("*")))
    own = ("../scratch", "../pid", "../pickles")
    found = {path for path in written(text, place) if not path.startswith(own)}
    lines, pickled = text.splitlines(), set(pickles.read_text().splitlines())
    assert "this hook" in pickled
    started = [line for line in lines if "execve(" in line and " = -1 " not in line][2:]  # sh and the command
    return Traced(process.returncode, errors, found, [line for line in lines if "AF_INET" in line], started,
                  pickled - {"this hook"})


def outside(done: Traced, stated: tuple[str, ...]) -> set[str]:
    """The paths written that lie in none of the stated files and folders; folders above these may be made."""
    names = {"/".join(part.removeprefix(".") for part in path.split("/")) for path in done.written}
    above = {str(folder) for one in stated for folder in Path(one).parents} | {""}  # "" is a file without a name
    return {path for path in names if not path.startswith(stated or ("none",)) and not (stated and path in above)}
