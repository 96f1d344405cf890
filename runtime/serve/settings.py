"""Settings of the server: limits of requests, batching, access control, shutdown."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..core.errors import UsageError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits of one request and of all requests together.

    Attributes:
        max_body_bytes: size of one request (else 413).
        max_file_bytes: size of one image (else 413).
        max_pixels: pixels of one image (else 413).
        max_images: images in one request (else 413).
        max_queue: pending images of all requests, accepted and not yet answered (else 429).
        max_buffered_bytes: uploads in memory, of all requests together (else 429).
        read_timeout: seconds for a body to arrive (else 408).
        request_timeout: seconds from the arrival of the body to the response (else 504). A decoder or engine that is
            busy with one job for longer counts as stuck: /readyz answers 503 until the job ends.
        header_timeout: seconds for the head of a request to arrive (else the connection is closed).
    """

    max_body_bytes: int = 64 * MIB
    max_file_bytes: int = 32 * MIB
    max_pixels: int = 50_000_000
    max_images: int = 32
    max_queue: int = 128
    max_buffered_bytes: int = 512 * MIB
    read_timeout: float = 30.0
    request_timeout: float = 60.0
    header_timeout: float = 10.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                option = name.replace("_bytes", "_mb").replace("max_pixels", "max_megapixels").replace("_", "-")
                raise UsageError(f"--{option} must be above 0 and finite")
        if self.max_images > self.max_queue:
            raise UsageError(
                f"a request may contain {self.max_images} images, but the queue holds {self.max_queue}: "
                "such a request would always be rejected; raise --max-queue or lower --max-images"
            )
        if self.max_body_bytes > self.max_buffered_bytes:
            raise UsageError(
                f"a request may contain {self.max_body_bytes:,} bytes, but all requests together "
                f"{self.max_buffered_bytes:,}: such a request would always be rejected; "
                "raise --max-buffered-mb or lower --max-body-mb"
            )


@dataclass(frozen=True)
class ServeSettings:
    """All settings of the server except the engine's.

    Attributes:
        limits: limits of requests.
        max_batch: largest number of images in one inference.
        max_wait: seconds that an inference waits for further images.
        workers: decoding threads.
        token: bearer token that /v1, /metrics and /openapi.json require; None for no access control.
        allowed_hosts: values of the Host header that are accepted, None for all. They prevent DNS rebinding: a web page
            whose own host name resolves to the server's address.
        drain: grace period in seconds between SIGTERM and the end of listening, in which /readyz answers 503.
        last_seconds: for images that are still in work when all requests are answered, and for the exit itself.
    """

    limits: Limits = field(default_factory=Limits)
    max_batch: int = 8
    max_wait: float = 0.002
    workers: int = 2
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] | None = None
    drain: float = 0.5
    last_seconds: float = 3.0

    @property
    def stops_within(self) -> float:
        """Seconds from SIGTERM to the end of the process at the latest."""
        return self.drain + self.limits.read_timeout + self.limits.request_timeout + 2 * self.last_seconds

    def __post_init__(self) -> None:
        if self.max_batch < 1 or self.workers < 1:
            raise UsageError("--batch-size and --workers must be at least 1")
        if not (0 <= self.max_wait < math.inf and 0 <= self.drain < math.inf):
            raise UsageError("--max-wait-ms and --drain must be 0 or more, and finite")
        if self.token is not None and (not self.token or not self.token.isascii() or self.token != self.token.strip()):
            raise UsageError("the token must be ASCII text without surrounding spaces")
