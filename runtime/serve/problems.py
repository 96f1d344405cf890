"""What the server answers when it does not answer with scores: a status, a sentence, and when to come back."""

from __future__ import annotations


class Problem(Exception):
    """Ends a request with `status`, a 4xx or 5xx. retry_after: whole seconds, with 429 and 503.

    Attributes:
        close: set when the request was not read to its end, so that the connection cannot be used again.
    """

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.close = False

    def headers(self) -> dict[str, str]:
        """The response headers that belong to it."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            found["WWW-Authenticate"] = 'Bearer realm="cinemae"'
        if self.close:
            found["Connection"] = "close"
        return found
