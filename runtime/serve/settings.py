"""What the server accepts and how it batches: one frozen object, made by the command line and read everywhere else."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import UsageError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds on one request and on all of them together. Beyond one of the first kind: a 4xx; of the second: 429.

    max_body_bytes, max_images: one request. max_file_bytes, max_pixels: one image.
    max_queue: images accepted and not yet answered. max_buffered_bytes: uploads held in memory, all requests together.
    read_timeout: seconds for a body to arrive (408). request_timeout: seconds from there to the answer (504).
    header_timeout: seconds for a connection to say what it wants before it is closed.
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
            if value <= 0:
                raise UsageError(f"{name} must be above 0, got {value}")
        if self.max_images > self.max_queue:
            raise UsageError(
                f"a request may hold {self.max_images} images but the queue only {self.max_queue}: "
                "such a request could never be accepted; raise --max-queue or lower --max-images"
            )
        if self.max_body_bytes > self.max_buffered_bytes:
            raise UsageError(
                f"one body may hold {self.max_body_bytes:,} bytes but all together only {self.max_buffered_bytes:,}; "
                "raise --max-buffered-mb or lower --max-body-mb"
            )


@dataclass(frozen=True)
class ServeSettings:
    """Everything but the engine.

    max_batch, max_wait: an inference takes up to `max_batch` images and waits at most `max_wait` seconds for them.
    workers: threads that decode. token: a bearer token that /v1 and /metrics ask for. allowed_hosts: values of the Host
    header that are answered, None for all; it keeps web pages from reaching a local server under a name of their own.
    drain: seconds between the signal to stop and the first closed door, for load balancers to look at /readyz.
    """

    limits: Limits = field(default_factory=Limits)
    max_batch: int = 8
    max_wait: float = 0.002
    workers: int = 2
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] | None = None
    drain: float = 0.5

    def __post_init__(self) -> None:
        if self.max_batch < 1 or self.workers < 1:
            raise UsageError("--batch-size and --workers must be at least 1")
        if self.max_wait < 0 or self.drain < 0:
            raise UsageError("--max-wait-ms and --drain must not be negative")
        if self.token is not None and (not self.token or not self.token.isascii() or self.token != self.token.strip()):
            raise UsageError("the token must be plain ASCII text without spaces around it")
