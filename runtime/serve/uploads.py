"""Reading the images of a request into memory, within the limits; no upload is written to disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from ..core.errors import ImageError
from ..images.source import NamedSource
from .options import Limits
from .problems import Problem

RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Content types of a raw body beside image/* and video/*; the last is curl's for `--data-binary @photo.jpg`."""
_UTF_8 = (b"utf-8", b"utf8")
_MAX_NAME = 1024
_DISCARD = 4
"""A body that is not needed is read and discarded up to this many times the limit of a body."""


class Body:
    """The body of an ASGI request; `declared` is its Content-Length, 0 if there is none."""

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

    async def discard(self, limits: Limits) -> bool:
        """Read and discard the rest of a body of up to `_DISCARD` times the limit, within the time limit.

        A client that is still sending when the connection is closed sees a connection reset instead of the response.

        Returns:
            whether the body was read to its end; if not, the connection must be closed after the response.
        """
        most = _DISCARD * limits.max_body_bytes
        if self.declared <= most:
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError, ClientDisconnect):
                await asyncio.wait_for(self._discard(most), limits.read_timeout)
        return self.ended

    async def _discard(self, left: int) -> None:
        async for chunk in self.chunks():
            left -= len(chunk)
            if left < 0:
                return


class ByteBudget:
    """Limits the bytes of uploads in memory, over all requests; a 429 has the seconds that `retry_after` gives."""

    def __init__(self, capacity: int, retry_after: Callable[[], int]) -> None:
        self._capacity, self._retry_after = capacity, retry_after
        self.used = 0

    @contextlib.contextmanager
    def account(self) -> Iterator[Callable[[int], None]]:
        """A function that takes a number of bytes for one request; all bytes are released at the end of the block.

        The function raises Problem, 429, where all requests together would exceed the budget.
        """
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if self.used + count > self._capacity:
                raise Problem(429, "too many uploads at once; try again later", retry_after=self._retry_after())
            self.used += count
            taken += count

        try:
            yield take
        finally:
            self.used -= taken


class _InMemoryParser(MultiPartParser):
    """Starlette's parser without temporary files on disk; the size of the body is limited before it is parsed."""

    spool_max_size = 1 << 62


async def read_uploads(
    request: Request, body: Body, name: str, limits: Limits, take: Callable[[int], None]
) -> list[NamedSource]:
    """Read the images of a request: the parts of a multipart form that have a file name, or the raw body.

    Args:
        request: the request.
        body: its body.
        name: name of the image in a raw body.
        limits: the limits of a request.
        take: takes bytes of memory for this request, see `ByteBudget.account`.

    Returns:
        The images, named for their records; an image of too many bytes has an error.

    Raises:
        Problem: 400 the form is malformed or contains no file; 408 the body arrived too slowly; 413 the body is too
            large or has too many images; 415 unsupported content type or encoding; 429 too many bytes in memory.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem(415, f"Content-Encoding {encoding!r} is not supported: send the image as it is")
    if kind != "multipart/form-data" and kind not in RAW_TYPES and not kind.startswith(("image/", "video/")):
        raise Problem(
            415,
            f"content type {kind!r} is not supported: send an image as image/*, video/* or application/octet-stream, "
            "or several as multipart/form-data",
        )
    stream = _bounded(body, limits, take)
    try:
        if kind == "multipart/form-data":
            return await asyncio.wait_for(_read_form(request, stream, limits), limits.read_timeout)
        return [_named(name, await asyncio.wait_for(_read_raw(stream), limits.read_timeout), limits)]
    except (asyncio.TimeoutError, TimeoutError):
        raise Problem(408, f"the body did not arrive within {limits.read_timeout:g} s") from None
    except ClientDisconnect:
        raise Problem(400, "the client closed the connection before the body was complete") from None


def _named(name: str, data: bytes, limits: Limits) -> NamedSource:
    size, most = len(data), limits.max_file_bytes
    error = ImageError(f"{size:,} bytes is more than {most:,}", "too_large") if size > most else None
    return NamedSource(name, data, error)


async def _bounded(body: Body, limits: Limits, take: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of the body; the bytes of a chunk are taken first."""
    too_large = Problem(413, f"the body is larger than {limits.max_body_bytes:,} bytes")
    if body.declared > limits.max_body_bytes:
        raise too_large
    take(body.declared)
    taken, seen = body.declared, 0
    async for chunk in body.chunks():
        seen += len(chunk)
        if seen > limits.max_body_bytes:
            raise too_large
        if seen > taken:
            take(seen - taken)
            taken = seen
        yield chunk


async def _read_raw(stream: AsyncGenerator[bytes, None]) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def _read_form(request: Request, stream: AsyncGenerator[bytes, None], limits: Limits) -> list[NamedSource]:
    _, options = parse_options_header(request.headers["content-type"])
    if options.get(b"charset", _UTF_8[0]).lower() not in _UTF_8:
        # Starlette would decode names with any of Python's codecs, of which some raise and some are slow.
        raise Problem(415, "a form in another charset than UTF-8 is not supported; leave the charset away")
    try:
        form = await _InMemoryParser(
            request.headers, stream, max_files=limits.max_images, max_fields=limits.max_images, max_part_size=64 * 1024
        ).parse()
    except (MultiPartException, FormParserError) as error:  # older Starlettes let the second through
        message = getattr(error, "message", "invalid multipart data")
        if message.startswith("Too many files"):
            raise Problem(413, f"more than {limits.max_images} images in one request") from None
        raise Problem(400, f"malformed multipart form: {message}") from None
    uploads: list[NamedSource] = []
    for _, value in form.multi_items():
        if isinstance(value, UploadFile):
            name = (value.filename or "")[:_MAX_NAME] or f"upload-{len(uploads) + 1}"
            uploads.append(_named(name, value.file.read(), limits))
            value.file.close()
    if not uploads:
        raise Problem(400, "the form contains no file: send each image as a part with a file name")
    return uploads
