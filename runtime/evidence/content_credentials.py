"""Content Credentials (C2PA): verified offline with c2pa-python, or reported as present without it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from ..core.environment import pip_install
from ..core.text import shown
from .fact import Evidence
from .metadata import Metadata
from .source_type import source_type

MAX_FILE = 1 << 28
"""Larger files are not hashed for verification."""
MAX_REPORT = 1 << 22
"""Characters of the JSON that describes the manifests."""
OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "core": {"allowed_network_hosts": []},
}
UNTRUSTED = "signingCredential.untrusted"


def content_credentials(file: BinaryIO, metadata: Metadata, remote: str) -> Iterator[Evidence]:
    """Yield the facts of the C2PA manifest that is embedded in a file.

    Args:
        file: the file, whose bytes the signature is checked against.
        metadata: its metadata, which says whether there is a manifest.
        remote: address of a remote manifest that XMP names; it is reported, never fetched.
    """
    if not metadata.c2pa:
        if remote:
            statement = f"names Content Credentials at {shown(remote)}, which were not fetched"
            yield Evidence("content_credentials", "XMP", statement, "remote")
        return
    source = f"C2PA manifest in {metadata.c2pa}"
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError):
        yield Evidence("content_credentials", source, f"present, not verified: {pip_install('provenance')}", "present")
        return
    try:
        if file.seek(0, os.SEEK_END) > MAX_FILE:
            raise ValueError(f"the file is larger than {MAX_FILE >> 20} MiB")
        file.seek(0)
        with c2pa.Context.from_dict(OFFLINE) as context, c2pa.Reader(metadata.mime, file, context=context) as reader:
            text = reader.json()
        if len(text) > MAX_REPORT:
            raise ValueError("the manifest is too large")
        yield from _facts(json.loads(text), source)
    except Exception as error:  # the library raises almost anything on damaged manifests
        statement = f"present, cannot be verified ({shown(str(error).partition(chr(10))[0])})"
        yield Evidence("content_credentials", source, statement, "unreadable")


def _facts(report: dict[str, Any], source: str) -> Iterator[Evidence]:
    """Facts of the active manifest in c2pa's JSON report."""
    manifest = report["manifests"][report["active_manifest"]]
    state = str(report.get("validation_state") or "Invalid").lower()
    signature = manifest.get("signature_info") or {}
    names = [signature.get("common_name"), signature.get("issuer")]
    signer = ", ".join(dict.fromkeys(shown(name) for name in names if name)) or "an unnamed signer"
    parts = [f"signed by {signer}", _validity(state, report)]
    made_by = [_name(item) for item in manifest.get("claim_generator_info") or ()]
    actions = [
        action
        for assertion in manifest.get("assertions") or ()
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in (assertion.get("data") or {}).get("actions") or ()
    ]
    made_by += [_name(action.get("softwareAgent")) for action in actions]
    named = list(dict.fromkeys(name for name in made_by if name))[:4]
    if named:
        parts.append(f"made with {', '.join(named)}")
    yield Evidence("content_credentials", source, "; ".join(parts), state)
    for uri in dict.fromkeys(str(action["digitalSourceType"]) for action in actions if "digitalSourceType" in action):
        yield source_type(uri, f"{source}, signature {state}")


def _name(software: object) -> str:
    """The name of a program, given as text or as {"name": ...}."""
    if isinstance(software, dict):
        software = software.get("name")
    return shown(software) if isinstance(software, str) else ""


def _validity(state: str, report: dict[str, Any]) -> str:
    if state == "trusted":
        return "signature valid and its certificate trusted"
    if state == "valid":
        return "signature and content match; its certificate is not on a trust list here"
    active = (report.get("validation_results") or {}).get("activeManifest") or {}
    codes = [str(item.get("code")) for item in active.get("failure") or () if item.get("code") != UNTRUSTED]
    return f"NOT valid ({shown(', '.join(codes[:3])) or 'no reason given'})"
