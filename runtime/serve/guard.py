"""ASGI middleware around the application: access control for requests, security headers for responses."""

from __future__ import annotations

import hmac
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .logs import id_of, log, request_id
from .options import ServeOptions
from .problems import Problem
from .uploads import Body

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
# Ours instead of TrustedHostMiddleware: that of starlette 0.46, which we support, takes "[" for the host of [::1]:8000,
# and it refuses with a 400 in plain text instead of the JSON problem that names --allow-host.
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^][:,@/\s]+)(?::\d*)?")
_PROTECTED = ("/v1/", "/metrics", "/openapi.json")
_PROBES = ("/healthz", "/readyz")
"""Answered under every Host: a kubelet names the pod's address, and the answers hold no secret."""


def host_of(header: str) -> str:
    """The host of a Host header without its port, in lower case; "" for a malformed one."""
    match = _HOST.fullmatch(header.lower())
    return match[1] if match else ""


class Guard:
    """Checks the Host header, rejects cross-site posts, checks the bearer token, and adds the security headers.

    Every response has the request's id in X-Request-ID. HEAD is answered as GET; the HTTP server leaves the body away.
    """

    def __init__(self, app: ASGIApp, options: ServeOptions) -> None:
        self._app, self._limits, self._logs = app, options.limits, options.log_json
        self._hosts = None if options.allowed_hosts is None else {host.lower() for host in options.allowed_hosts}
        self._token = None if options.token is None else options.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started, status, own = time.monotonic(), 0, id_of(Headers(scope=scope).get("x-request-id", ""))
        request_id.set(own)

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = own
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            problem = self._refusal(scope)
            if problem is None:
                method = "GET" if scope["method"] == "HEAD" else scope["method"]
                await self._app({**scope, "method": method}, receive, send_guarded)
            else:
                problem.close = not await Body(scope, receive).discard(self._limits)
                await problem.response()(scope, receive, send_guarded)
        finally:
            if self._logs:
                fields = {
                    "request": own, "method": scope["method"], "path": scope["path"], "status": status,
                    "seconds": round(time.monotonic() - started, 4),
                }
                log.info("answered", extra={"fields": fields})

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        host = host_of(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts and scope["path"] not in _PROBES:
            refused = f"this server does not accept requests for the host {host[:100]!r}; start it with --allow-host"
            return Problem(421, refused)
        if scope["method"] == "POST" and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return Problem(403, "requests from other web pages are refused")
        if self._token is not None and scope["path"].startswith(_PROTECTED) and not self._has_token(headers):
            return Problem(401, "send the header 'Authorization: Bearer TOKEN'")
        return None

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Compared in constant time, so that the response time does not reveal how much of the token was right.
        same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token or b"")
        return scheme.lower() == "bearer" and same
