"""The body of a request as a stream of chunks, and the discarding of bodies that are not read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

_DISCARD = 4
"""A body that is not needed is read and discarded up to this many times the limit of a body."""


class Body:
    """The body of an ASGI request.

    Attributes:
        declared: the Content-Length, 0 if there is none.
        ended: whether the body was read to its end.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        length = dict(scope["headers"]).get(b"content-length", b"")
        self.declared = int(length) if length.isdigit() and len(length) < 20 else 0
        self.ended = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the rest of the body.

        Raises:
            ClientDisconnect: the client closed the connection.
        """
        while not self.ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.ended = not message.get("more_body", False)
            yield message.get("body", b"")

    async def discard(self, limit: int, seconds: float) -> bool:
        """Read and discard the rest of the body.

        A client that is still sending when the connection is closed sees a connection reset instead of the response.

        Args:
            limit: largest body that the server accepts, in bytes; up to four times as much is read.
            seconds: time limit.

        Returns:
            whether the body was read to its end; if not, the connection must be closed after the response.
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
