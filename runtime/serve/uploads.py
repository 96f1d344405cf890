"""Reads a request's images into memory, never onto disk, within the limits, and says clearly what it will not read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .body import Body
from .problems import Problem
from .settings import Limits

RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Besides image/*. The last is what `curl --data-binary @photo.jpg` says when it is not told otherwise."""
_MAX_NAME = 1024


@dataclass(frozen=True)
class Upload:
    """One file as it came. name: the client's own name for it, never used as a path."""

    name: str
    data: bytes


class ByteBudget:
    """Bytes of uploads held in memory by all requests together."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0

    @contextlib.contextmanager
    def account(self) -> Iterator[Account]:
        """An account whose bytes are given back at the end of the block."""
        account = Account(self)
        try:
            yield account
        finally:
            self.used -= account.taken


class Account:
    """What one request holds of a `ByteBudget`."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.taken = 0

    def take(self, count: int, retry_after: int) -> None:
        """Raises Problem 429 when all requests together would hold too much."""
        if self._budget.used + count > self._budget.capacity:
            raise Problem(429, "too many uploads at once; try again later", retry_after=retry_after)
        self._budget.used += count
        self.taken += count


class _InMemoryParser(MultiPartParser):
    """Starlette's parser with a spool that never reaches the disk: bodies are bounded before they get here."""

    spool_max_size = 1 << 62


def media_type(request: Request) -> str:
    """The content type without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_uploads(
    request: Request, body: Body, name: str, limits: Limits, account: Account, retry_after: int
) -> list[Upload]:
    """The request's images: each part that has a file name of a multipart form, or the raw body as one image.

    Raises:
        Problem: 400 broken form or no file in it; 408 too slow; 413 too large or too many; 415 another content type
            or an encoded body; 429 too many bytes in memory.
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
        raise Problem(400, "the client went away before its body had arrived") from None


async def _bounded(body: Body, limits: Limits, account: Account, retry_after: int) -> AsyncGenerator[bytes, None]:
    """The body's chunks, each accounted for before it is handed on."""
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
    try:
        form = await _InMemoryParser(
            request.headers, stream, max_files=limits.max_images, max_fields=limits.max_images, max_part_size=64 * 1024
        ).parse()
    except (MultiPartException, FormParserError) as error:  # older Starlettes let the second through
        message = getattr(error, "message", "invalid multipart data")
        too_many = message.startswith("Too many files")
        if too_many:
            raise Problem(413, f"more than {limits.max_images} images in one request") from None
        raise Problem(400, f"broken multipart form: {message}") from None
    uploads: list[Upload] = []
    for _, value in form.multi_items():
        if isinstance(value, UploadFile):
            name = (value.filename or "")[:_MAX_NAME] or f"upload-{len(uploads) + 1}"
            uploads.append(Upload(name, value.file.read()))
            value.file.close()
    if not uploads:
        raise Problem(400, "the form holds no file: send each image as a part with a file name")
    return uploads
