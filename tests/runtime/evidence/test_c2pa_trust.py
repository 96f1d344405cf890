"""What vouches for a C2PA manifest, from the codes in c2pa's reports: four answers, each with a sentence of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cinemae.runtime.evidence.c2pa_reports import Reports
from cinemae.runtime.evidence.c2pa_trust import answers, trust_of
from cinemae.runtime.evidence.fact import Trust

LABEL = "urn:c2pa:1"
CODES = {"success": ["claimSignature.validated"], "failure": ["signingCredential.untrusted"]}


def reports(success=(), failure=(), lists=()) -> Reports:
    """Reports on one manifest, with these codes of C2PA 2.2, 15.2 beside those of a valid signature."""
    def results(passed, failed):
        url = f"self#jumbf=/c2pa/{LABEL}/c2pa.signature"
        made = {group: [{"code": code, "url": url} for code in (*CODES[group], *codes)]
                for group, codes in (("success", passed), ("failure", failed))}
        return {"active_manifest": LABEL, "manifests": {LABEL: {
            "signature_info": {"common_name": "A", "issuer": "B", "time": "2026-01-01T00:00:00+00:00"}}},
            "validation_results": {"activeManifest": made}}

    return Reports(results(success, failure), tuple((kind, results(codes, ())) for kind, codes in lists))


VALID = Trust("A, B", "valid", "unchecked", "unstamped", "unchecked")


@pytest.mark.parametrize(("given", "expected"), [
    (reports(), {}),
    (reports(["timeStamp.validated"]), {"time": "stamp_unlisted"}),
    (reports(["timeStamp.validated", "timeStamp.trusted"]), {"time": "stamp_unlisted"}),
    (reports(["timeStamp.validated"], lists=[("listed", ["timeStamp.validated", "timeStamp.trusted"])]),
     {"time": "stamped", "listing": "unlisted"}),
    (reports(lists=[("listed", ["signingCredential.trusted"])]), {"listing": "listed"}),
    (reports(lists=[("interim", ["signingCredential.trusted"])]), {"listing": "interim"}),
    (reports(failure=["signingCredential.expired"]), {"time": "outside"}),
    (reports(failure=["claimSignature.outsideValidity"]), {"time": "outside"}),
    (reports(failure=["signingCredential.ocsp.revoked"]), {"revocation": "revoked"}),
    (reports(["signingCredential.ocsp.notRevoked"]), {"revocation": "not_revoked"}),
    (reports(failure=["assertion.dataHash.mismatch"]), {"signature": "invalid"}),
    (reports(failure=["signingCredential.invalid"]), {"signature": "invalid"}),
    (reports(failure=["cawg.x509.credential.untrusted"]), {}),
])
def test_codes_answer_four_questions_apart(given, expected):
    trust, stamp, failures = trust_of(given, LABEL)
    assert trust == replace(VALID, **expected)
    facts = list(answers(trust, stamp, failures, "here"))
    assert len(facts) == (4 if trust.signature == "valid" else 1)
    assert len({fact.statement for fact in facts}) == len(facts)
