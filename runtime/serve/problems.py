"""The exception for requests that get no scores: a status, a sentence and the seconds until a retry."""

from __future__ import annotations

from starlette.responses import JSONResponse


class Problem(Exception):
    """Ends a request with an error response.

    Attributes:
        status: HTTP status, 4xx or 5xx.
        detail: one sentence for the user.
        retry_after: whole seconds for the header Retry-After, with 429 and 503; None for no header.
        close: whether the connection is closed, because the request was not read to its end.
    """

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.close = False

    def response(self) -> JSONResponse:
        """The JSON `{"detail": sentence}` with the headers that go with the status."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="cinemae"'
        if self.close:
            headers["Connection"] = "close"
        return JSONResponse({"detail": self.detail}, self.status, headers)
