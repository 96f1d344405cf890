"""A request's body as it arrives: chunks within limits, and a polite end for bodies that nobody wants."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

_DISCARD = 4
"""An unwanted body is read and thrown away up to this many times the limit."""


class Body:
    """ASGI body messages. `ended`: all of it has been read. `declared`: its Content-Length, 0 when there is none."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        length = dict(scope["headers"]).get(b"content-length", b"")
        self.declared = int(length) if length.isdigit() and len(length) < 20 else 0
        self.ended = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """What is still to come.

        Raises:
            ClientDisconnect: the client went away.
        """
        while not self.ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.ended = not message.get("more_body", False)
            yield message.get("body", b"")

    async def discard(self, limit: int, seconds: float) -> bool:
        """Throw the rest away, so that the client reads the answer instead of a reset connection.

        Args:
            limit: bytes of an ordinary body; a few times as much is read. seconds: for how long.

        Returns:
            whether the body has ended; if not, the connection has to be closed.
        """
        if self.declared <= _DISCARD * limit:
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError, ClientDisconnect):
                await asyncio.wait_for(self._discard(_DISCARD * limit), seconds)
        return self.ended

    async def _discard(self, left: int) -> None:
        async for chunk in self.chunks():
            left -= len(chunk)
            if left < 0:
                return
