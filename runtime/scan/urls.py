"""`--allow-url`: fetch an image over http or https, from public addresses, with limits on size, time and redirects."""

from __future__ import annotations

import http.client
import io
import ipaddress
import math
import socket
import ssl
import threading
import time
import zlib
from contextlib import closing, suppress
from functools import partial
from typing import BinaryIO
from urllib.parse import quote, urljoin, urlsplit

from ..core.errors import ImageError
from ..core.read_ahead import check_stop
from ..core.text import shown

MAX_URL_BYTES = 64 << 20
"""Of the answer, before and after it is decompressed."""
READ_SECONDS, TOTAL_SECONDS = 10.0, 60.0
MAX_REDIRECTS = 5
CHUNK_BYTES = 1 << 16
NOT_ALLOWED = "is a URL, and nothing is fetched without --allow-url"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
"""The public addresses of IPv6 so far (IANA's registry): not site-local or IPv4-compatible ones, which ipaddress takes
for global."""


_unreadable = partial(ImageError, kind="unreadable")


def is_public(address: str) -> bool:
    """Whether an IP address is a public one, also where an IPv4 address is embedded in an IPv6 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    embedded = []
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = [one for one in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if one is not None]
        if ip in _NAT64:
            embedded.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if ip.ipv4_mapped is not None:
            return all(is_public(str(one)) for one in embedded)
        if ip not in _UNICAST and ip not in _NAT64:
            return False
    return ip.is_global and not ip.is_multicast and all(is_public(str(one)) for one in embedded)


def _connect(host: str, port: int, end: float) -> socket.socket:
    """Connect to the address that was checked: a name that then resolves to another one changes nothing.

    Args:
        host: name or address.
        port: of the server.
        end: when to give up, by the monotonic clock.

    Raises:
        ImageError: the host has an address that is not public.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, address in found:
        if not is_public(str(address[0])):
            raise _unreadable(f"{shown(host)} has the address {address[0]}, which is not public; it is not fetched")
    error: OSError = OSError("no address")
    for family, kind, protocol, _, address in found:
        left = end - time.monotonic()
        if left <= 0:  # a name may have hundreds of addresses that do not answer
            break
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(min(READ_SECONDS, left))
        try:
            sock.connect(address)
            return sock
        except OSError as reason:
            sock.close()
            error = reason
    raise error


class _Plain(http.client.HTTPConnection):
    end = math.inf

    def connect(self) -> None:
        self.sock = _connect(self.host, self.port, self.end)


class _Secure(_Plain):
    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def fetch(url: str) -> BinaryIO:
    """The content behind a URL.

    Raises:
        ImageError: an address that is not public, another scheme, too large, too slow, too often redirected, no answer.
    """
    end = time.monotonic() + TOTAL_SECONDS
    try:
        for _ in range(MAX_REDIRECTS + 1):
            answer = _get(url, end)
            if isinstance(answer, bytes):
                return io.BytesIO(answer)
            url = urljoin(url, answer)
        raise _unreadable(f"the server redirects more than {MAX_REDIRECTS} times")
    except ImageError:
        raise
    except Exception as error:  # sockets, TLS and http.client raise many kinds
        if time.monotonic() > end:
            raise _unreadable(f"the server takes longer than {TOTAL_SECONDS:g} s") from None
        raise _unreadable(f"cannot be fetched ({type(error).__name__}: {shown(error)})") from None


def _get(url: str, end: float) -> bytes | str:
    """One request: the body, or where it redirects to."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _unreadable(f"{shown(url)} is not an http or https URL")
    kind = _Secure if parts.scheme == "https" else _Plain
    connection = kind(parts.hostname, parts.port, timeout=READ_SECONDS)
    connection.end = end

    def stop() -> None:  # a server that sends a byte now and then never runs into the timeout of a read
        with suppress(OSError):
            if connection.sock is not None:
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, end - time.monotonic()), stop)
    timer.daemon = True
    timer.start()
    try:
        with closing(connection):
            connection.connect()
            if time.monotonic() > end:  # `stop` may have found no connection to shut
                raise TimeoutError
            target = quote(parts.path or "/", safe="/%:=&~+!$,;'@()*[]") + (
                f"?{quote(parts.query, safe='/%:=&~+!$,;@()*[]?')}" if parts.query else ""
            )
            connection.request("GET", target, headers={"Accept-Encoding": "identity", "User-Agent": "cinemae-run"})
            return _answer(connection.getresponse(), end)
    finally:
        timer.cancel()


def _answer(response: http.client.HTTPResponse, end: float) -> bytes | str:
    location = response.getheader("Location")
    if response.status in (301, 302, 303, 307, 308) and location:
        return location
    if response.status != 200:
        raise _unreadable(f"the server answers {response.status} {shown(response.reason)}")
    too_large = ImageError(f"more than {MAX_URL_BYTES:,} bytes", "too_large")
    if response.length is not None and response.length > MAX_URL_BYTES:
        raise too_large
    body = bytearray()
    while chunk := response.read1(CHUNK_BYTES):
        body += chunk
        check_stop()
        if len(body) > MAX_URL_BYTES:
            raise too_large
        if time.monotonic() > end:
            raise _unreadable(f"the server takes longer than {TOTAL_SECONDS:g} s")
    if response.length:
        raise _unreadable(f"the connection ended {response.length:,} bytes too early")
    coding = response.getheader("Content-Encoding", "identity").lower()
    if coding in ("gzip", "x-gzip", "deflate"):
        expander = zlib.decompressobj(47)
        content = expander.decompress(bytes(body), MAX_URL_BYTES + 1)
        if len(content) > MAX_URL_BYTES:
            raise too_large
        return content
    if coding not in ("identity", ""):
        raise _unreadable(f"the answer has the unknown content encoding {shown(coding)}")
    return bytes(body)
