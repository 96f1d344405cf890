"""New image files in watched folders, as they are complete: by polling, which also works on network shares.

A file is complete when its size and modification time have stood still for `settle` seconds. Temporary names and
dotfiles are ignored, a renamed file is not scored again, a rewritten one is. (watchdog's polling observer is no
substitute: it does not name the files that are there at the start, walks a link loop dozens of times, and names every
file again when a network share returns.)
"""

from __future__ import annotations

import math
import os
import re
import signal
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from ...core.errors import UsageError
from ...core.text import display_name
from ...images.formats import is_image_file
from ...images.system_files import is_system_path
from ...images.walk import walk

EMPTY_FACTOR = 5
"""An empty file has most likely just been created: it waits this many times longer before it counts as complete."""
TEMPORARY = re.compile(r"^~\$|\.(part|partial|filepart|crdownload|download|tmp|temp|swp)(\.|$)")
"""Lower-case names of files that another program is still writing."""
REMEMBERED = 100_000
"""Vanished files whose state is kept: a share that drops out for a moment must not be scored again."""

REST = 4
"""After a poll of a large or slow folder, the pause is at least this many times as long as the poll."""

State = tuple[int, int]
"""Size and modification time in nanoseconds."""


def ignored(path: str, root: str) -> bool:
    """Whether a file is hidden, temporary, or an operating system's; `path` is `root` with something appended."""
    inside = path[len(root) :]
    *folders, name = inside.lower().split(os.sep)
    return (
        name.startswith(".")
        or any(folder.startswith(".") for folder in folders)
        or is_system_path(inside)
        or TEMPORARY.search(name) is not None
    )


class Watcher:
    """Remembers what was seen in `folders`; `poll` names the files that have become complete since the last call."""

    def __init__(self, folders: Sequence[str], settle: float = 2.0, exclude: Collection[tuple[int, int]] = ()) -> None:
        """Check the folders; nothing is read yet.

        Args:
            folders: the watched folders.
            settle: seconds a file must stand still.
            exclude: (device, inode) of folders that are not entered.

        Raises:
            UsageError: a folder is not one, or `settle` is negative.
        """
        for folder in folders:
            if not os.path.isdir(folder):
                raise UsageError(f"{display_name(folder)}: is no folder; cinemae watch takes folders that exist")
        if not 0 <= settle < math.inf:
            raise UsageError(f"a file must stand still for at least 0 seconds, got {settle}")
        self._folders, self._settle, self._exclude = tuple(folders), settle, exclude
        self._waiting: dict[str, tuple[State, float]] = {}  # and when it was first seen, in monotonic seconds
        self._done: dict[str, tuple[State, tuple[int, int]]] = {}
        self._gone: OrderedDict[str, tuple[State, tuple[int, int]]] = OrderedDict()
        self.problems: tuple[str, ...] = ()

    def poll(self, now: float) -> list[str]:
        """Look at all files once. Afterwards `problems` names the folders that cannot be read.

        Args:
            now: a monotonic clock, in seconds.

        Returns:
            paths of the files that have become complete since the last call, in folder order.
        """
        present: dict[str, os.stat_result] = {}
        problems: list[str] = []
        for folder in self._folders:
            for item in walk(folder, self._exclude, wanted=lambda path: True):
                if item.error is not None:
                    problems.append(f"{display_name(item.name)}: {item.error}")
                elif not ignored(item.name, folder):
                    try:
                        status = os.stat(item.name)
                    except OSError:  # vanished since it was listed, or a link to nothing
                        continue
                    if stat.S_ISREG(status.st_mode):
                        present[item.name] = status
        self.problems = tuple(problems)
        if not problems:  # else files may only be out of sight
            self._forget(present)
        moved = set(self._gone.values())
        complete = [path for path, status in present.items() if self._is_new(path, status, now, moved)]
        return [path for path in complete if is_image_file(path)]

    def _forget(self, present: Collection[str]) -> None:
        for path in [path for path in self._waiting if path not in present]:
            del self._waiting[path]
        for path in [path for path in self._done if path not in present]:
            self._gone[path] = self._done.pop(path)
            self._gone.move_to_end(path)
        while len(self._gone) > REMEMBERED:
            self._gone.popitem(last=False)

    def _is_new(
        self, path: str, status: os.stat_result, now: float, moved: Collection[tuple[State, tuple[int, int]]]
    ) -> bool:
        """Whether a file has just become complete; `moved` holds state and identity of all files that vanished."""
        state, identity = (status.st_size, status.st_mtime_ns), (status.st_dev, status.st_ino)
        known = self._done.get(path) or self._gone.get(path)
        if known is not None and known[0] == state:
            self._done[path] = (state, identity)
            return False
        seen, since = self._waiting.get(path, (None, now))
        if seen != state:
            seen, since = self._waiting[path] = state, now
        if now - since < self._settle * (1 if status.st_size else EMPTY_FACTOR):
            return False
        del self._waiting[path]
        self._done[path] = (state, identity)
        renamed = identity[1] != 0 and (state, identity) in moved  # inode 0: the file system has none
        return not renamed


def watch(
    watcher: Watcher, stop: threading.Event, interval: float, say: Callable[[str], None] = lambda text: None
) -> Iterator[list[str]]:
    """Poll until `stop` is set.

    Args:
        watcher: the folders.
        stop: ends the iteration after the current poll.
        interval: seconds between two polls, at least.
        say: called with a message for each folder that cannot be read.

    Yields:
        The files that have become complete, where there are any.
    """
    told: tuple[str, ...] = ()
    while not stop.is_set():
        start = time.monotonic()
        ready = watcher.poll(start)
        looking = time.monotonic() - start
        if ready:
            yield ready
        if watcher.problems != told:
            told = watcher.problems
            for problem in told:
                say(f"warning: {problem}")
        stop.wait(max(interval, REST * looking))


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second SIGINT interrupts at once. Only in the main thread."""
    stop = threading.Event()
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for name in before:
        signal.signal(name, on_signal)
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
