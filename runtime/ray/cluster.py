"""Connecting to a cluster, what it has room for, and its errors in one line."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import CinemaeError, EngineError
from .address import DEFAULT

CONNECT_SECONDS = 10.0


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Connect to the cluster, or start one on this machine, for the length of the block.

    A connection that exists already is used and left alone. Ray's usage reports stay off by default.

    Raises:
        CinemaeError: no cluster at `address`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    found_running = ray.is_initialized()
    where = None if address == DEFAULT else address
    extra: dict[str, Any] = {}
    if where == "local" or (where is None and not os.environ.get("RAY_ADDRESS")):
        extra = {"include_dashboard": False}
    try:
        if not found_running:
            _knock(address)
            ray.init(address=where, log_to_driver=False, logging_level="ERROR", **extra)
    except Exception as error:  # Ray raises bare Exceptions too, when a node does not come up
        raise CinemaeError(f"--ray {address}: no cluster there ({one_line(error)})") from None
    try:
        yield
    finally:
        if not found_running:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def uses_gpu(device: str) -> bool:
    """Whether each engine takes a GPU: one was asked for, or `auto` finds some in the cluster."""
    import ray

    return device.startswith(("cuda", "tensorrt")) or (device == "auto" and ray.cluster_resources().get("GPU", 0) > 0)


def room(device: str, cpus: int) -> int:
    """How many engines the cluster holds, each with a GPU or with `cpus` CPUs; at least 1."""
    import ray

    resources = ray.cluster_resources()
    return max(1, int(resources.get("GPU", 0)) if uses_gpu(device) else int(resources.get("CPU", 1)) // cpus)


def one_line(error: BaseException) -> str:
    """The last line of an error that says something: Ray puts tracebacks in front of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def explained(error: BaseException, advice: str) -> CinemaeError:
    """A worker's own error where there is one, with its type; else one line of Ray's and the advice."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, CinemaeError):
            return seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    return EngineError(f"the Ray run failed: {one_line(error)}; {advice}")
