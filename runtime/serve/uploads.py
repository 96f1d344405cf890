"""Reading the images of a request into memory, within the limits; no upload is written to disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .body import Body
from .problems import Problem
from .settings import Limits

RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Content types of a raw body besides image/*; the last is the default of `curl --data-binary @photo.jpg`."""
_UTF_8 = (b"utf-8", b"utf8")
_MAX_NAME = 1024


@dataclass(frozen=True)
class Upload:
    """One uploaded file.

    Attributes:
        name: the name that the client gave it; never used as a path.
        data: its bytes.
    """

    name: str
    data: bytes


class ByteBudget:
    """Limits the bytes of uploads in memory, over all requests."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0

    @contextlib.contextmanager
    def account(self) -> Iterator[Account]:
        """An account of one request; its bytes are released at the end of the block."""
        account = Account(self)
        try:
            yield account
        finally:
            self.used -= account.taken


class Account:
    """The bytes that one request takes from a `ByteBudget`."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.taken = 0

    def take(self, count: int, retry_after: int) -> None:
        """Take `count` more bytes.

        Raises:
            Problem: 429, all requests together would exceed the budget.
        """
        if self._budget.used + count > self._budget.capacity:
            raise Problem(429, "too many uploads at once; try again later", retry_after=retry_after)
        self._budget.used += count
        self.taken += count


class _InMemoryParser(MultiPartParser):
    """Starlette's parser without temporary files on disk; the size of the body is limited before it is parsed."""

    spool_max_size = 1 << 62


def media_type(request: Request) -> str:
    """The content type without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_uploads(
    request: Request, body: Body, name: str, limits: Limits, account: Account, retry_after: int
) -> list[Upload]:
    """Read the images of a request: the parts of a multipart form that have a file name, or the raw body.

    Args:
        request: the request.
        body: its body.
        name: name of the image in a raw body.
        limits: the limits of a request.
        account: the request's account of bytes in memory.
        retry_after: seconds for the Retry-After of a 429.

    Raises:
        Problem: 400 the form is malformed or contains no file; 408 the body arrived too slowly; 413 the body is too
            large or has too many images; 415 unsupported content type or encoding; 429 too many bytes in memory.
    """
    kind = media_type(request)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem(415, f"Content-Encoding {encoding!r} is not supported: send the image as it is")
    if kind != "multipart/form-data" and kind not in RAW_TYPES and not kind.startswith("image/"):
        raise Problem(
            415,
            f"content type {kind!r} is not supported: send an image as image/* or application/octet-stream, "
            "or several as multipart/form-data",
        )
    stream = _bounded(body, limits, account, retry_after)
    try:
        if kind == "multipart/form-data":
            return await asyncio.wait_for(_read_form(request, stream, limits), limits.read_timeout)
        return [Upload(name, await asyncio.wait_for(_read_raw(stream), limits.read_timeout))]
    except (asyncio.TimeoutError, TimeoutError):
        raise Problem(408, f"the body did not arrive within {limits.read_timeout:g} s") from None
    except ClientDisconnect:
        raise Problem(400, "the client closed the connection before the body was complete") from None


async def _bounded(body: Body, limits: Limits, account: Account, retry_after: int) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of the body; the bytes of a chunk are taken from the account first."""
    too_large = Problem(413, f"the body is larger than {limits.max_body_bytes:,} bytes")
    if body.declared > limits.max_body_bytes:
        raise too_large
    account.take(body.declared, retry_after)
    seen = 0
    async for chunk in body.chunks():
        seen += len(chunk)
        if seen > limits.max_body_bytes:
            raise too_large
        if seen > account.taken:
            account.take(seen - account.taken, retry_after)
        yield chunk


async def _read_raw(stream: AsyncGenerator[bytes, None]) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def _read_form(request: Request, stream: AsyncGenerator[bytes, None], limits: Limits) -> list[Upload]:
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
        too_many = message.startswith("Too many files")
        if too_many:
            raise Problem(413, f"more than {limits.max_images} images in one request") from None
        raise Problem(400, f"malformed multipart form: {message}") from None
    uploads: list[Upload] = []
    for _, value in form.multi_items():
        if isinstance(value, UploadFile):
            name = (value.filename or "")[:_MAX_NAME] or f"upload-{len(uploads) + 1}"
            uploads.append(Upload(name, value.file.read()))
            value.file.close()
    if not uploads:
        raise Problem(400, "the form contains no file: send each image as a part with a file name")
    return uploads
