"""The server's Prometheus metrics, in their own registry, so that one process can hold several applications."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..scoring.record import Record

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters, histograms and gauges of one application.

    Args:
        engine: label of the engine.
        pending: returns the number of pending images; called when the metrics are read.
        ready: returns whether the server is ready; called when the metrics are read.
    """

    def __init__(self, engine: str, pending: Callable[[], int], ready: Callable[[], bool]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "cinemae_requests", "Responses of /v1/detect by status code", ["status"], registry=self.registry
        )
        self._images = Counter("cinemae_images", "Images by verdict, or error", ["verdict"], registry=self.registry)
        self._request_seconds = Histogram(
            "cinemae_request_seconds", "From a request's head to its response", buckets=_SECONDS, registry=self.registry
        )
        self._decode_seconds = Histogram(
            "cinemae_decode_seconds", "Decoding and preprocessing one image", buckets=_SECONDS, registry=self.registry
        )
        self._inference_seconds = Histogram(
            "cinemae_inference_seconds", "One inference of a batch", buckets=_SECONDS, registry=self.registry
        )
        self._batch_size = Histogram(
            "cinemae_batch_size", "Images in one inference", buckets=_BATCHES, registry=self.registry
        )
        self._gauge("cinemae_pending_images", "Images accepted and not yet answered", pending)
        self._gauge("cinemae_ready", "1 when /readyz answers 200", lambda: float(ready()))
        Gauge("cinemae_engine", "The engine in use", ["engine"], registry=self.registry).labels(engine).set(1)

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self.registry).set_function(value)

    def request(self, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(str(status)).inc()
        self._request_seconds.observe(seconds)

    def image(self, record: Record) -> None:
        """Count a record."""
        self._images.labels(record.verdict or "error").inc()

    def decoded(self, seconds: float) -> None:
        """Count an image that was decoded, or could not be."""
        self._decode_seconds.observe(seconds)

    def inference(self, size: int, seconds: float) -> None:
        """Count an inference of `size` images."""
        self._inference_seconds.observe(seconds)
        self._batch_size.observe(size)

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)
