"""The options of `cinemae serve`: scoring, limits of requests, batching, access control, shutdown, replicas on Ray."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from ..core.errors import UsageError
from ..core.option import Option
from ..scoring.options import FIRST, ScoringOptions

MIB = 1024 * 1024
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, kw_only=True)
class ServedScoring(ScoringOptions):
    """How a server scores.

    Attributes:
        max_pixels: images with more pixels are refused.
        frames: frames of an animation or video that are scored, spread over it; the most suspicious one counts. Every
            frame up to the last of them is decoded.
    """

    frames: Annotated[int | str, Option(metavar="[first|all|N]")] = FIRST
    max_pixels: int | None = 50_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one request and of all requests together.

    Attributes:
        max_queue: pending images of all requests, accepted and not yet answered; beyond it the response is 429.
        max_images: largest number of images in one request, else 413.
        max_file_mb: largest size of one image in MiB, else 413.
        max_body_mb: largest size of one request in MiB, else 413.
        max_buffered_mb: largest size of all uploads in memory, in MiB; beyond it the response is 429.
        read_timeout: seconds for the body of a request to arrive, else 408.
        request_timeout: seconds from the arrival of the body to the response, else 504. A decoder or engine that is
            busy with one job for longer counts as stuck.
        header_timeout: seconds for the head of a request to arrive, else the connection is closed.

    Raises:
        UsageError: a value that is not allowed, or limits that contradict each other.
    """

    max_queue: int = 128
    max_images: int = 32
    max_file_mb: float = 32
    max_body_mb: float = 64
    max_buffered_mb: float = 512
    read_timeout: float = 30
    request_timeout: float = 60
    header_timeout: Annotated[float, Option(hidden=True)] = 10

    def __post_init__(self) -> None:
        for item in fields(self):
            if not 0 < getattr(self, item.name) < math.inf:
                raise UsageError(f"--{item.name.replace('_', '-')} must be above 0 and finite")
        for one, many, unit in (("max_images", "max_queue", "images"), ("max_body_mb", "max_buffered_mb", "MiB")):
            if getattr(self, one) > getattr(self, many):
                raise UsageError(
                    f"a request may have {getattr(self, one):,} {unit}, all requests together {getattr(self, many):,}: "
                    f"such a request would always be rejected; raise --{many.replace('_', '-')} or lower "
                    f"--{one.replace('_', '-')}"
                )

    @property
    def max_file_bytes(self) -> int:
        """Largest size of one image."""
        return math.ceil(self.max_file_mb * MIB)

    @property
    def max_body_bytes(self) -> int:
        """Largest size of one request."""
        return math.ceil(self.max_body_mb * MIB)

    @property
    def max_buffered_bytes(self) -> int:
        """Largest size of all uploads in memory."""
        return math.ceil(self.max_buffered_mb * MIB)


LEAST_TOKEN = 22
"""Characters of a token below which the server warns: as many letters and digits as 128 random bits need."""


def token_in(path: Path | str) -> str:
    """The token in a file, without surrounding white space.

    Raises:
        UsageError: the file cannot be read, or is empty.
    """
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: the token file cannot be read ({why})") from None
    if not token:
        raise UsageError(f"{path}: the token file is empty")
    return token


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The options of `cinemae serve`.

    Attributes:
        scoring: how images are scored.
        limits: limits of requests.
        host: address to listen on.
        port: port to listen on; 0 chooses a free port.
        token: file with a bearer token; /v1, /metrics and /openapi.json then require the token.
        allow_host: accepted Host header; may be repeated. Default: the local names on a loopback address, else any.
        batch_size: largest number of images in one inference.
        max_wait_ms: longest wait for further images of a batch, in ms.
        workers: decoding threads.
        drain: grace period between SIGTERM and the end of listening, in seconds; /readyz answers 503 meanwhile.
        last_seconds: for images that are still in work when all requests are answered, and for the exit itself.
        log_json: log JSON lines, and a line for each request with its X-Request-ID.
        ray: serve on the Ray cluster at this address: HOST:PORT, auto or local.
        replicas: with --ray: replicas, each with an engine of its own. Default: 1.

    Raises:
        UsageError: a value that is not allowed, or options that contradict each other.
    """

    scoring: ServedScoring = field(default_factory=ServedScoring)
    limits: Limits = field(default_factory=Limits)
    host: str = "127.0.0.1"
    port: Annotated[int, Option(minimum=0, maximum=65535)] = 8000
    token: Annotated[
        str | None, Option(names=("--token-file",), metavar="FILE", parser=token_in)
    ] = field(default=None, repr=False)
    allow_host: Annotated[tuple[str, ...], Option(metavar="HOST")] = ()
    batch_size: int = 8
    max_wait_ms: float = 2
    workers: int = 2
    drain: float = 0.5
    last_seconds: Annotated[float, Option(hidden=True)] = 3
    log_json: bool = False
    ray: Annotated[str | None, Option(metavar="ADDRESS")] = None
    replicas: Annotated[int | None, Option(minimum=1)] = None

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < 1:
            raise UsageError("--batch-size and --workers must be at least 1")
        if not (0 <= self.max_wait_ms < math.inf and 0 <= self.drain < math.inf):
            raise UsageError("--max-wait-ms and --drain must be 0 or more, and finite")
        if self.token is not None and (not self.token or not self.token.isascii() or self.token != self.token.strip()):
            raise UsageError("the token must be ASCII text without surrounding spaces")
        if "" in self.allow_host:
            raise UsageError("--allow-host is empty: name a host, such as detector.example.org")
        if self.replicas is not None and self.ray is None:
            raise UsageError("--replicas: only with --ray")
        if self.log_json and self.ray is not None:
            raise UsageError("--log-json: not with --ray, whose replicas log as Ray does")

    @property
    def is_local(self) -> bool:
        """Whether the server can be reached from this machine only."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def allowed_hosts(self) -> tuple[str, ...] | None:
        """Accepted Host headers, None for all: `allow_host`, and the local names on a loopback address.

        The check prevents DNS rebinding: a web page whose own host name resolves to the server's address.
        """
        return (*LOCAL_NAMES, *self.allow_host) if self.is_local else self.allow_host or None

    @property
    def stops_within(self) -> float:
        """Seconds from SIGTERM to the end of the process at the latest."""
        return self.drain + self.limits.read_timeout + self.limits.request_timeout + 2 * self.last_seconds


def url_of(host: str, port: int) -> str:
    """The address of a server for people."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
