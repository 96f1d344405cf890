"""The server on this machine: uvicorn, which also closes slow connections and begins a shutdown with a grace period."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..core.errors import CinemaeError
from ..images.library_messages import silence_libraries
from ..scoring.detector import Detector
from .app import create_app
from .logs import log, log_to_stderr
from .options import LEAST_TOKEN, ServeOptions, url_of

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
    stuck in a decoder or the engine cannot hold the process beyond `ServeOptions.stops_within`; a second signal ends
    it without waiting for anything.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, options: ServeOptions) -> None:
        super().__init__(config)
        self._app, self._options = app, options

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the shutdown and its deadline; a second signal cuts the shutdown short, and ends the process.

        A shutdown of one signal ends with exit code 0: uvicorn would raise that signal again after it.
        """
        if self.should_exit:
            self.force_exit = True
            super().handle_exit(sig, frame)
        else:
            # A thread in C: it needs neither the event loop nor the interpreter's lock. What it prints is not wanted.
            self._nowhere = open(os.devnull, "w")  # noqa: SIM115
            faulthandler.dump_traceback_later(self._options.stops_within, exit=True, file=self._nowhere)
            self.should_exit = True

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
            await asyncio.sleep(0 if self.force_exit else self._options.drain)
        await super().shutdown(sockets)


def make_server(app: FastAPI, options: ServeOptions) -> DrainingServer:
    """A server ready to `run`."""
    limits = options.limits
    config = uvicorn.Config(
        app, host=options.host, port=options.port, http=_protocol(limits.header_timeout), ws="none", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, backlog=_BACKLOG,
        limit_concurrency=_MAX_CONNECTIONS, timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(limits.read_timeout + limits.request_timeout) + 1,
    )
    return DrainingServer(config, app, options)


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


def launch(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT; a line on stderr gives the address.

    Raises:
        CinemaeError: the engine cannot be loaded, or the port is in use.
    """
    silence_libraries()
    log_to_stderr(options.log_json)
    host, port = options.host, options.port
    try:
        listener = bind(host, port)
    except OSError as error:
        why = error.strerror or error
        raise CinemaeError(f"cannot listen on {host}:{port} ({why}); choose another --host or --port") from None
    with listener:
        detector = Detector.load(options.scoring)
        for note in detector.wait().notes:
            log.info("note: %s", note)
        # From here on, connections wait in the backlog of the socket until the application runs.
        listener.listen()
        address = url_of(host, listener.getsockname()[1])
        log.info("%s: serving %s", detector.run.engine, address)
        if not options.is_local and options.token is None:
            log.warning("reachable from other machines without a token; see --token-file")
        if options.token is not None and len(options.token) < LEAST_TOKEN:
            log.warning("a token of %d characters can be guessed; openssl rand -hex 32 makes one", len(options.token))
        make_server(create_app(lambda: detector, options), options).run(sockets=[listener])
