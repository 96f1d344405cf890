"""What vouches for a C2PA manifest: its signature, its signer, the time of signing, revocation; four answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from ..core.text import shown
from .c2pa_reports import Reports, items
from .fact import Evidence, Trust

_SOFT = (
    "signingCredential.untrusted", "signingCredential.expired", "signingCredential.ocsp.",
    "claimSignature.outsideValidity", "timeStamp.", "cawg.",
)
"""Failures of the certificate, its time stamp or another identity, which leave signature and content intact."""

LISTINGS: tuple[Literal["listed", "interim", "unlisted"], ...] = ("listed", "interim", "unlisted")

SENTENCES = {
    "valid": "The signature of {signer} is valid, and the content is what was signed",
    "invalid": "The Content Credentials are NOT valid ({why}): they do not fit the file, or break C2PA's rules",
    "listed": "The signer's certificate comes from a trust list that was given",
    "interim": "The signer's certificate comes from the interim trust list, which was frozen in January 2026",
    "unlisted": "The signer's certificate comes from no trust list that was given: anyone can make such a certificate",
    "unchecked": "The signer's name is not checked, because no trust list was given: anyone can sign in any name",
    "stamped": "A time stamp of {stamp} shows that the certificate was valid at the time of signing",
    "stamp_unlisted": "A time stamp of {stamp}, by an authority on no trust list that was given, says that the "
                      "certificate was valid at the time of signing",
    "unstamped": "No time stamp shows when the file was signed: whether the certificate was valid then is unknown",
    "outside": "The certificate was NOT valid at the time of signing, or has expired without a time stamp",
    "not_revoked": "The signer's certificate was not revoked, by an answer of its issuer that the file holds",
    "revoked": "The signer's certificate was REVOKED by its issuer",
    "revocation_unchecked": "Whether the signer's certificate was revoked is unknown: the file does not say, and the "
                            "network is not used",
}
"""One for each value of each answer."""


def answers(trust: Trust, stamp: str, failures: Sequence[str], source: str) -> Iterator[Evidence]:
    """Yield a fact for each of the four answers; only the first where the signature is not valid."""
    revocation = "revocation_unchecked" if trust.revocation == "unchecked" else trust.revocation
    why = shown(", ".join(failures[:3])) or "no reason given"
    for answer in (trust.signature, trust.listing, trust.time, revocation):
        sentence = SENTENCES[answer].format(signer=trust.signer, stamp=stamp, why=why)
        value = f"signer_{answer}" if answer == trust.listing else answer
        yield Evidence("content_credentials", source, sentence, value, ", ".join(failures) or None, trust=trust)
        if answer == "invalid":
            return


def trust_of(reports: Reports, label: str) -> tuple[Trust, str, list[str]]:
    """What vouches for the manifest of that label, the time of its stamp, and the codes of what makes it invalid."""
    passed, failed = _codes(reports.base, label)
    failures = sorted(code for code in failed if not code.startswith(_SOFT))
    valid = not failures and bool(passed & {"claimSignature.validated", "ingredient.manifest.validated"})
    passed.discard("timeStamp.trusted")  # c2pa trusts every authority where no list is given
    listings: set[str] = set()
    for listing, report in reports.lists:
        passed_here, _ = _codes(report, label)
        passed |= passed_here & {"timeStamp.trusted"}
        listings |= {listing} if "signingCredential.trusted" in passed_here else {"unlisted"}
    signature = reports.base["manifests"][label].get("signature_info")
    signature = signature if isinstance(signature, dict) else {}
    stamp = shown(signature.get("time") or "") if "timeStamp.validated" in passed else ""
    if failed & {"claimSignature.outsideValidity", "signingCredential.expired"}:
        time = "outside"
    else:
        time = "unstamped" if not stamp else "stamped" if "timeStamp.trusted" in passed else "stamp_unlisted"
    ocsp = {code.rpartition(".")[2] for code in passed | failed if code.startswith("signingCredential.ocsp.")}
    names = dict.fromkeys(shown(name) for key in ("common_name", "issuer") if (name := signature.get(key)))
    trust = Trust(
        signer=", ".join(names) or "an unnamed signer", signature="valid" if valid else "invalid",
        listing=next((one for one in LISTINGS if one in listings), "unchecked"),
        time=time,  # type: ignore[arg-type]
        revocation="revoked" if "revoked" in ocsp else "not_revoked" if "notRevoked" in ocsp else "unchecked",
    )
    return trust, stamp, failures


def _codes(report: dict[str, Any], label: str) -> tuple[set[str], set[str]]:
    """Codes of C2PA 2.2, 15.2 on one manifest: of success and information, and of failure.

    What the signer of a file recorded of an ingredient is joined by what differs from it now, which overrides it.
    """
    results = report.get("validation_results")
    results = results if isinstance(results, dict) else {}
    now = [item.get("validationDeltas") for item in items(results.get("ingredientDeltas"))]
    if label == report["active_manifest"]:
        now.append(results.get("activeManifest"))
    recorded: list[object] = []
    for manifest in report["manifests"].values():
        for item in items(manifest.get("ingredients") if isinstance(manifest, dict) else None):
            if item.get("active_manifest") == label:
                of_item = item.get("validation_results")
                recorded.append(of_item.get("activeManifest") if isinstance(of_item, dict) else None)
                # the older form holds failures only and names no manifest
                old = [{**one, "url": f"/{label}/"} for one in items(item.get("validation_status"))]
                recorded.append({"failure": old})
    (passed, failed), (passed_now, failed_now) = _grouped(recorded, label), _grouped(now, label)
    subjects = ("signingCredential", "timeStamp")
    overridden = {f"{one}.trusted" for one in subjects if f"{one}.untrusted" in passed_now | failed_now}
    return (passed - overridden) | passed_now, failed | failed_now


def _grouped(blocks: Sequence[object], label: str) -> tuple[set[str], set[str]]:
    passed: set[str] = set()
    failed: set[str] = set()
    for block in blocks:
        for group, codes in (("success", passed), ("informational", passed), ("failure", failed)):
            for item in items(block.get(group)) if isinstance(block, dict) else ():
                if f"/{label}/" in f"{item.get('url')}/":
                    codes.add(str(item.get("code")))
    return passed, failed
