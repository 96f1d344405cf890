"""The connection to a Ray cluster, the number of engines it can hold, and its errors as one line."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..core.errors import CinemaeError, EngineError
from .address import DEFAULT

CONNECT_SECONDS = 10.0


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Connect to a Ray cluster, or start one on this machine, for the duration of the block.

    An existing connection is used and stays open afterwards. Ray's usage reports are switched off unless the
    environment variable RAY_USAGE_STATS_ENABLED is set.

    Args:
        address: `default`, `local`, `auto`, `HOST:PORT` or `ray://HOST:PORT`.

    Raises:
        CinemaeError: there is no cluster at `address`.
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
            _check_port(address)
            ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR, **extra)
    except Exception as error:  # Ray raises bare Exceptions too, when a node does not come up
        raise CinemaeError(f"--ray {address}: no Ray cluster answers there ({one_line(error)})") from None
    try:
        yield
    finally:
        if not found_running:
            ray.shutdown()


def _check_port(address: str) -> None:
    """Raise OSError if HOST:PORT refuses a connection; Ray itself would retry for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def uses_gpu(device: str) -> bool:
    """Whether each engine occupies a GPU: `device` names one, or it is `auto` and the cluster has GPUs."""
    import ray

    return device.startswith(("cuda", "tensorrt")) or (device == "auto" and ray.cluster_resources().get("GPU", 0) > 0)


def room(device: str, cpus: int) -> int:
    """Number of engines that the cluster can hold, each with one GPU or with `cpus` CPUs; at least 1."""
    import ray

    resources = ray.cluster_resources()
    return max(1, int(resources.get("GPU", 0)) if uses_gpu(device) else int(resources.get("CPU", 1)) // cpus)


def one_line(error: BaseException) -> str:
    """The last line of an error's message that is not empty; Ray puts tracebacks before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def explained(error: BaseException, advice: str) -> CinemaeError:
    """The CinemaeError that a worker raised, if there is one; else an EngineError with Ray's message and `advice`."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, CinemaeError):
            return seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    return EngineError(f"the Ray run failed: {one_line(error)}; {advice}")
