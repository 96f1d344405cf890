"""The connection to a Ray cluster, the number of engines that fit, and errors of Ray as one line."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.environment import require
from ..core.errors import CinemaeError, EngineError

CONNECT_SECONDS = 10.0


def require_ray() -> None:
    """Raise MissingDependencyError with the pip command where a package of the extra `ray` is missing."""
    require("a Ray cluster", "ray", "fsspec", "pyarrow", "ray.data")


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Connect to a Ray cluster, or start one on this machine, for the duration of the block.

    An existing connection is used and stays open afterwards. Ray's usage reports are switched off unless the
    environment variable RAY_USAGE_STATS_ENABLED is set.

    Args:
        address: `local`, `auto`, `HOST:PORT` or `ray://HOST:PORT`; None for the cluster that the environment variable
            RAY_ADDRESS names, else for a new one on this machine.

    Raises:
        CinemaeError: there is no cluster at `address`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    found_running = ray.is_initialized()
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    extra: dict[str, Any] = {"include_dashboard": False} if where == "local" else {}
    try:
        if not found_running:
            _check_port(where)
            ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR, **extra)
    except Exception as error:  # Ray raises bare Exceptions too, when a node does not come up
        raise CinemaeError(f"{where}: no Ray cluster answers there ({one_line(error)})") from None
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


def on_every_node(engine: str | os.PathLike[str] | None) -> str | None:
    """How workers name an engine: a path from the root, an address on the hub, or None for the bundled engine."""
    if engine is None or str(engine).startswith("hf://"):
        return None if engine is None else str(engine)
    return str(Path(engine).resolve())


def one_line(error: BaseException) -> str:
    """The line of an error's message that tells the first cause; Ray puts tracebacks and advice around it."""
    lines = [line.strip() for line in str(error).partition("The above exception was")[0].splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def explained(error: BaseException, advice: str) -> CinemaeError:
    """The CinemaeError that a worker raised, if there is one; else an EngineError with Ray's message and `advice`."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, CinemaeError):
        seen = getattr(seen, "cause", None) or seen.__cause__
    return seen or EngineError(f"the Ray run failed: {one_line(error)}; {advice}")
