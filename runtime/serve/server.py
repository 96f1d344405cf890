"""uvicorn with two additions: silent connections are closed, and stopping begins with a period of grace."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from .settings import ServeSettings

_KEEP_ALIVE_SECONDS = 15
_BACKLOG = 1024
_MAX_CONNECTIONS = 1000
"""Open connections beyond which uvicorn answers 503 by itself; only slow or hostile clients get there."""


def _protocol(header_timeout: float) -> type[H11Protocol]:
    """H11Protocol that closes a connection which has not sent its first request's head in time (slowloris)."""

    class TimedProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._head_timer = asyncio.get_running_loop().call_later(header_timeout, self._close_if_silent)

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_timer.cancel()
            super().connection_lost(exc)

        def _close_if_silent(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    return TimedProtocol


class DrainingServer(uvicorn.Server):
    """On SIGTERM or SIGINT /readyz turns 503 and answers close their connections; after `drain` seconds the door shuts.

    Requests that have arrived by then are answered before the process ends.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See the class."""
        service = getattr(self._app.state, "service", None)
        if service is not None:
            service.draining = True
            await asyncio.sleep(self._drain)
        await super().shutdown(sockets)


def make_server(app: FastAPI, settings: ServeSettings, host: str, port: int, **options: Any) -> DrainingServer:
    """A server ready to `run`; `options` go to uvicorn.Config."""
    limits = settings.limits
    config = uvicorn.Config(
        app, host=host, port=port, http=_protocol(limits.header_timeout), ws="none", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, backlog=_BACKLOG,
        limit_concurrency=_MAX_CONNECTIONS, timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(limits.read_timeout + limits.request_timeout) + 1, **options,
    )  # fmt: skip
    return DrainingServer(config, app, settings.drain)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; binding before the engine loads makes a port in use an early, clear error.

    Raises:
        OSError: the address is in use or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
