"""uvicorn with two additions: slow connections are closed, and a shutdown begins with a grace period."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import socket
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from .settings import ServeSettings

_KEEP_ALIVE_SECONDS = 15
_BACKLOG = 1024
_MAX_CONNECTIONS = 1000
"""Above this number of open connections uvicorn answers 503; only slow or hostile clients open so many."""


def _protocol(header_timeout: float) -> type[H11Protocol]:
    """H11Protocol with a time limit on the head of every request of a connection, against slow clients (slowloris).

    The limit runs from the opening of the connection, later from the first byte after a response. An idle connection
    sends no byte and is left to uvicorn's keep-alive timeout.
    """

    class HeadTimedProtocol(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._time_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._time_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_head_timer()
            super().connection_lost(exc)

        def _time_head(self) -> None:
            """Start the timer while a request's head is awaited, stop it while a request is being answered."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_head_timer()
            elif self._head_timer is None and not self.transport.is_closing():
                self._head_timer = asyncio.get_running_loop().call_later(header_timeout, self.transport.close)

        def _stop_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return HeadTimedProtocol


class DrainingServer(uvicorn.Server):
    """Shuts down in two steps, so that a load balancer has time to notice.

    On SIGTERM or SIGINT, /readyz answers 503 and every response closes its connection. After `drain` seconds no new
    connection is accepted; requests that have arrived by then are answered before the process ends. A thread that is
    stuck in a decoder or the engine cannot hold the process beyond `ServeSettings.stops_within`; a second signal ends
    it without waiting for anything.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, settings: ServeSettings) -> None:
        super().__init__(config)
        self._app = app
        self._settings = settings

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the shutdown and its deadline; a second signal cuts the shutdown short."""
        if self.should_exit:
            self.force_exit = True
        else:
            # A thread in C: it needs neither the event loop nor the interpreter's lock. What it prints is not wanted.
            self._nowhere = open(os.devnull, "w")  # noqa: SIM115
            faulthandler.dump_traceback_later(self._settings.stops_within, exit=True, file=self._nowhere)
        super().handle_exit(sig, frame)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal; the deadline stays while a stuck thread would hold the interpreter's exit."""
        try:
            super().run(sockets)
        finally:
            service = getattr(self._app.state, "service", None)
            if service is None or not service.is_busy():
                faulthandler.cancel_dump_traceback_later()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for the grace period, then let uvicorn shut down."""
        service = getattr(self._app.state, "service", None)
        if service is not None:
            service.draining = True
            await asyncio.sleep(0 if self.force_exit else self._settings.drain)
        await super().shutdown(sockets)


def make_server(app: FastAPI, settings: ServeSettings, host: str, port: int, **options: Any) -> DrainingServer:
    """A server ready to `run`.

    Args:
        app: the application of `create_app`.
        settings: the limits, and the grace period at shutdown.
        host: address that the server listens on.
        port: port that the server listens on.
        **options: further arguments of uvicorn.Config.
    """
    limits = settings.limits
    config = uvicorn.Config(
        app, host=host, port=port, http=_protocol(limits.header_timeout), ws="none", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, backlog=_BACKLOG,
        limit_concurrency=_MAX_CONNECTIONS, timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(limits.read_timeout + limits.request_timeout) + 1, **options,
    )
    return DrainingServer(config, app, settings)


def bind(host: str, port: int) -> socket.socket:
    """Bind a TCP socket, before the engine is loaded: a port in use is then an early error.

    Raises:
        OSError: the address is in use, or does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY on accepted connections only where the listening socket names its protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
