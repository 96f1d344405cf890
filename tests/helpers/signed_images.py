"""Images with Content Credentials, signed by a test certificate that is made on the spot."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pytest
from PIL import Image

TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED = TYPES + "trainedAlgorithmicMedia"
DAYS = (-1, 30)
"""First and last day of the signer's certificate, from today."""
CREATED = {"action": "c2pa.created", "digitalSourceType": TRAINED, "softwareAgent": {"name": "DALL-E"}}


@lru_cache(maxsize=8)
def certificates(first_day: int, last_day: int, root: str = "Test Root") -> tuple[bytes, bytes, bytes]:
    """Certificate chain, private key and root certificate in PEM, of the profile that C2PA asks of signers."""
    pytest.importorskip("c2pa")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    now = datetime.datetime.now(datetime.timezone.utc)

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Newsroom"),
                          x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject, own, is_root):
        usages = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                  "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
        mine = ("key_cert_sign", "crl_sign") if is_root else ("digital_signature",)
        builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(root))
        builder = builder.public_key(own.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + datetime.timedelta(days=-400 if is_root else first_day))
        builder = builder.not_valid_after(now + datetime.timedelta(days=400 if is_root else last_day))
        builder = builder.add_extension(x509.BasicConstraints(is_root, None), True)
        builder = builder.add_extension(x509.KeyUsage(**{usage: usage in mine for usage in usages}), True)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        builder = builder.add_extension(issuer, False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
        if not is_root:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    of_root = certificate(root, root_key, True)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                               serialization.NoEncryption())
    return certificate("Test Signer", key, False) + of_root, secret, of_root


def signed(
    image: Image.Image | bytes, kind: str = "JPEG", *, actions: Sequence[dict[str, Any]] = (CREATED,),
    ingredients: Sequence[tuple[dict[str, Any], bytes]] = (), generator: str = "Test Generator",
    assertions: Sequence[dict[str, Any]] = (), remote: str | None = None, fields: dict[str, Any] | None = None,
) -> bytes:
    """The image with a manifest as an image generator writes it.

    Args:
        image: an image, or an encoded file.
        kind: its format.
        actions: of the assertion c2pa.actions.
        ingredients: (description, encoded file) of each.
        generator: the claim generator.
        assertions: further ones.
        remote: the manifest lies there and not in the file.
        fields: further ones of the assertion c2pa.actions.
    """
    c2pa = pytest.importorskip("c2pa")
    chain, secret, _ = certificates(*DAYS)
    info = c2pa.C2paSignerInfo(b"es256", chain, secret, b"")
    info.ta_url = None  # no timestamp authority, which is a server
    manifest = {
        "claim_generator_info": [{"name": generator, "version": "1"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": list(actions), **(fields or {})}}, *assertions],
    }
    plain, out = io.BytesIO(image if isinstance(image, bytes) else b""), io.BytesIO()
    if not isinstance(image, bytes):
        image.save(plain, kind)
    plain.seek(0)
    settings = {"verify": {"verify_after_sign": False}, "builder": {"thumbnail": {"enabled": False}}}
    with c2pa.Context.from_dict(settings) as context, c2pa.Builder(json.dumps(manifest), context=context) as builder:
        if remote is not None:
            builder.set_no_embed()
            builder.set_remote_url(remote)
        for description, data in ingredients:
            builder.add_ingredient(json.dumps(description), f"image/{kind.lower()}", io.BytesIO(data))
        builder.sign(c2pa.Signer.from_info(info), f"image/{kind.lower()}", plain, out)
    return out.getvalue()
