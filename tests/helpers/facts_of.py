"""The facts that a file's bytes give, read as a detector reads them."""

from __future__ import annotations

import io
import time

from cinemae.runtime.core.errors import ImageError
from cinemae.runtime.evidence.collect import collect
from cinemae.runtime.evidence.fact import Evidence
from cinemae.runtime.images.decode import decoded


def timed_facts_of(data: bytes) -> tuple[tuple[Evidence, ...], float]:
    """All facts, none where the image cannot be decoded; and the seconds of CPU that they took beyond decoding."""
    try:
        with decoded(data) as image:
            start = time.thread_time()
            return collect(io.BytesIO(data), image.opened), time.thread_time() - start
    except ImageError:
        return (), 0.0


def facts_of(data: bytes) -> tuple[Evidence, ...]:
    """All facts."""
    return timed_facts_of(data)[0]
