"""Start the server on this machine: token, allowed host names, socket, engine."""

from __future__ import annotations

import ipaddress
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ..core.environment import pip_install
from ..core.errors import CinemaeError, MissingDependencyError, UsageError
from .settings import ServeSettings

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def read_token(path: Path | None) -> str | None:
    """The token in a file, without surrounding white space; None if `path` is None.

    Raises:
        UsageError: the file cannot be read, or is empty.
    """
    if path is None:
        return None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: the token file cannot be read ({why})") from None
    if not token:
        raise UsageError(f"{path}: the token file is empty")
    return token


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(host: str, asked: Sequence[str] | None) -> tuple[str, ...] | None:
    """Host headers that the server accepts.

    Args:
        host: address that the server listens on.
        asked: the values of `--allow-host`.

    Returns:
        `asked`, and the local names if `host` is a loopback address; None for any host.

    Raises:
        UsageError: one of `asked` is empty.
    """
    if "" in (asked or ()):
        raise UsageError("--allow-host is empty: name a host, such as detector.example.org")
    if is_loopback(host):
        return (*LOCAL_NAMES, *(asked or ()))
    return tuple(asked) if asked else None


def require_serve() -> None:
    """Check that the packages of the extra `serve` are installed.

    Raises:
        MissingDependencyError: one is missing; the message gives the pip command.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"the server needs {error.name}: {pip_install('serve')}") from None


def launch(
    settings: ServeSettings,
    engine: Path | None,
    host: str,
    port: int,
    device: str,
    threads: int | None,
    threshold: float | None,
    prior: float,
) -> None:
    """Serve until SIGTERM or SIGINT; one line on stderr gives the address.

    Raises:
        CinemaeError: the extra `serve` is missing, the engine cannot be loaded, or the port is in use.
    """
    require_serve()
    from ..images.library_messages import silence_libraries
    from ..scoring.detector import Detector
    from .app import create_app
    from .server import bind, make_server

    silence_libraries()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s")
    try:
        listener = bind(host, port)
    except OSError as error:
        why = error.strerror or error
        raise CinemaeError(f"cannot listen on {host}:{port} ({why}); choose another --host or --port") from None
    with listener:
        detector = Detector.load(
            engine, device=device, threads=threads, threshold=threshold, max_pixels=settings.limits.max_pixels,
            prior=prior,
        )
        for note in detector.wait().notes:
            print(f"note: {note}", file=sys.stderr)
        if not is_loopback(host) and settings.token is None:
            print("warning: reachable from other machines without a token; see --token-file", file=sys.stderr)
        # From here on, connections wait in the backlog of the socket until the application runs.
        listener.listen()
        shown = f"[{host}]" if ":" in host else host
        print(f"{detector.label}: serving http://{shown}:{listener.getsockname()[1]}/", file=sys.stderr, flush=True)
        app = create_app(lambda: detector, settings)
        make_server(app, settings, host, port).run(sockets=[listener])
