"""The server's Prometheus metrics, in their own registry, so that one process can hold several applications."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..scoring.record import Record

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters, histograms and gauges of one application; `pending` and `ready` are called when metrics are read."""

    def __init__(self, engine: str, pending: Callable[[], int], ready: Callable[[], bool]) -> None:
        self._registry = registry = CollectorRegistry()

        def seconds(of: str, text: str) -> Histogram:
            return Histogram(f"cinemae_{of}_seconds", text, buckets=_SECONDS, registry=registry)

        self._requests = Counter(
            "cinemae_requests", "Responses of /v1/detect by status code", ["status"], registry=registry
        )
        self._images = Counter("cinemae_images", "Images by verdict, or error", ["verdict"], registry=registry)
        self._request_seconds = seconds("request", "From a request's head to its response")
        self._decode_seconds = seconds("decode", "Decoding and preprocessing one image")
        self._inference_seconds = seconds("inference", "One inference of a batch")
        self._sizes = Histogram("cinemae_batch_size", "Images in one inference", buckets=_BATCHES, registry=registry)
        gauge = Gauge("cinemae_pending_images", "Images accepted and not yet answered", registry=registry)
        gauge.set_function(pending)
        Gauge("cinemae_ready", "1 when /readyz answers 200", registry=registry).set_function(lambda: float(ready()))
        Gauge("cinemae_engine", "The engine in use", ["engine"], registry=registry).labels(engine).set(1)

    def request(self, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(str(status)).inc()
        self._request_seconds.observe(seconds)

    def image(self, record: Record) -> None:
        """Count a record."""
        self._images.labels(record.verdict or "error").inc()

    def decoded(self, seconds: float) -> None:
        """Count an image that was decoded, or could not be decoded."""
        self._decode_seconds.observe(seconds)

    def inference(self, size: int, seconds: float) -> None:
        """Count an inference of `size` images."""
        self._inference_seconds.observe(seconds)
        self._sizes.observe(size)

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self._registry)
