"""Images with Content Credentials, signed by a test certificate that is made on the spot."""

from __future__ import annotations

import datetime
import io
import json
from functools import lru_cache

import pytest
from PIL import Image

TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@lru_cache(maxsize=1)
def certificates() -> tuple[bytes, bytes]:
    """Certificate chain and private key in PEM, of the profile that C2PA asks of signers."""
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
        builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("Test Root"))
        builder = builder.public_key(own.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=30))
        builder = builder.add_extension(x509.BasicConstraints(is_root, None), True)
        builder = builder.add_extension(x509.KeyUsage(**{usage: usage in mine for usage in usages}), True)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        builder = builder.add_extension(issuer, False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
        if not is_root:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    chain = certificate("Test Signer", key, False) + certificate("Test Root", root_key, True)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                               serialization.NoEncryption())
    return chain, secret


def signed(image: Image.Image, kind: str = "JPEG", remote: str | None = None, **options) -> bytes:
    """The encoded image with a manifest as an image generator writes it; beside the file where `remote` is given."""
    c2pa = pytest.importorskip("c2pa")
    chain, secret = certificates()
    info = c2pa.C2paSignerInfo(b"es256", chain, secret, b"")
    info.ta_url = None  # no timestamp authority, which is a server
    action = {"action": "c2pa.created", "digitalSourceType": TRAINED, "softwareAgent": {"name": "DALL-E"}}
    manifest = {
        "claim_generator_info": [{"name": "Test Generator", "version": "1"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
    }
    plain, out = io.BytesIO(), io.BytesIO()
    image.save(plain, kind, **options)
    plain.seek(0)
    with c2pa.Builder(json.dumps(manifest)) as builder:
        if remote is not None:
            builder.set_no_embed()
            builder.set_remote_url(remote)
        builder.sign(c2pa.Signer.from_info(info), f"image/{kind.lower()}", plain, out)
    return out.getvalue()
