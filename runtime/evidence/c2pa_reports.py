"""c2pa's JSON reports on a file: one without a trust list, and one for each list."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from ..core.errors import UsageError
from .metadata import MAX_FILE

MAX_REPORT = 1 << 22
"""Characters of a report."""
OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "core": {"allowed_network_hosts": [], "max_decompressed_manifest_size_in_mb": 32},
}
INTERIM = "interim trust list"
"""Stands in the head of the list that was frozen in January 2026 (contentcredentials.org/trust/anchors.pem)."""


Listing: TypeAlias = Literal["listed", "interim"]


@dataclass(frozen=True)
class Reports:
    """Reports on one file.

    Attributes:
        base: without a trust list.
        lists: (kind of list, report with that list).
    """

    base: dict[str, Any]
    lists: tuple[tuple[Listing, dict[str, Any]], ...]


def check_trust_list(path: str | PathLike[str]) -> None:
    """Refuse a file that holds no certificates.

    Raises:
        UsageError: it cannot be read, or has no PEM certificate.
    """
    try:
        if "-----BEGIN CERTIFICATE-----" in _certificates(path):
            return
    except OSError as error:
        raise UsageError(f"--trust-list {path}: {error.strerror}") from None
    raise UsageError(f"--trust-list {path}: holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")


def _certificates(path: str | PathLike[str]) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


def read_reports(file: BinaryIO, mime: str, trust_lists: Sequence[str | PathLike[str]]) -> Reports:
    """Have c2pa read a file's manifest and check its signature and content, without the network.

    Raises:
        ImportError: c2pa-python is not installed, or its library cannot be loaded here.
        ValueError, OSError, c2pa.C2paError: the file is larger than `MAX_FILE`, a list or the manifest cannot be read.
    """
    lists = [_certificates(path) for path in trust_lists]
    if file.seek(0, os.SEEK_END) > MAX_FILE:
        raise ValueError(f"the file is larger than {MAX_FILE >> 20} MiB")
    base, *others = (_report(file, mime, certificates) for certificates in (None, *lists))
    kinds: list[Listing] = ["interim" if INTERIM in text[:4096] else "listed" for text in lists]
    return Reports(base, tuple(zip(kinds, others, strict=True)))


def _report(file: BinaryIO, mime: str, certificates: str | None) -> dict[str, Any]:
    try:
        import c2pa
    except (OSError, RuntimeError) as error:
        raise ImportError(str(error)) from None
    trust = {"trust": {"trust_anchors": certificates, "allowed_list": certificates}} if certificates else {}
    file.seek(0)
    with c2pa.Context.from_dict(OFFLINE | trust) as context, c2pa.Reader(mime, file, context=context) as reader:
        text = reader.json()
    if len(text) > MAX_REPORT:
        raise ValueError("the manifest is too large")
    report: dict[str, Any] = json.loads(text)
    return report


def items(value: object, also: type = dict) -> list[Any]:
    """The dictionaries of a list in a report, and values of one more type; none where it is no list."""
    return [item for item in value if isinstance(item, (dict, also))] if isinstance(value, list) else []
