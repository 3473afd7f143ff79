# SPDX-License-Identifier: Apache-2.0
"""Signing and verifying: the encodings Mender accepts, and the keys that are refused by name."""

import base64
import io
import tarfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from updater.artifact import (
    AlreadySigned,
    ArtifactError,
    KeyRefused,
    PrivateKey,
    load_private_key,
    load_public_key,
    read_artifact,
    sign_artifact,
    write_module_artifact,
)
from updater.artifact.signature import encode_signature, verify_signature

MANIFEST = b"the manifest"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def private_pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
    form: ser.PrivateFormat = ser.PrivateFormat.PKCS8,
    encryption: ser.KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(ser.Encoding.PEM, form, encryption or ser.NoEncryption())


def public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("form", [ser.PrivateFormat.PKCS8, ser.PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY], ids=["ecdsa", "rsa"])
def test_signature_verifies_with_its_key_only(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, form: ser.PrivateFormat
) -> None:
    encoded = encode_signature(MANIFEST, load_private_key(private_pem(key, form)))
    public = load_public_key(public_pem(key))
    other = load_public_key(public_pem(ec.generate_private_key(ec.SECP256R1())))
    assert b"\n" not in encoded
    verify_signature(MANIFEST, encoded, [public])
    verify_signature(MANIFEST, encoded + b"\n", [other, public])
    with pytest.raises(ArtifactError, match="none of the verification keys"):
        verify_signature(MANIFEST, encoded, [other])
    with pytest.raises(ArtifactError, match="none of the verification keys"):
        verify_signature(MANIFEST + b"x", encoded, [public])


def test_ecdsa_is_64_bytes_and_der_is_tolerated() -> None:
    public = load_public_key(public_pem(EC_KEY))
    assert len(base64.b64decode(encode_signature(MANIFEST, PrivateKey("ECDSA P-256", EC_KEY)))) == 64
    verify_signature(MANIFEST, base64.b64encode(EC_KEY.sign(MANIFEST, ec.ECDSA(SHA256()))), [public])


@pytest.mark.parametrize("encoded", [b"", b"AAAA", base64.b64encode(bytes(64)), base64.b64encode(b"\xff" * 64)])
@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY], ids=["ecdsa", "rsa"])
def test_rubbish_is_no_signature(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, encoded: bytes) -> None:
    with pytest.raises(ArtifactError, match="none of the verification keys"):
        verify_signature(MANIFEST, encoded, [load_public_key(public_pem(key))])


def test_signature_that_is_not_base64() -> None:
    public, good = load_public_key(public_pem(EC_KEY)), encode_signature(MANIFEST, PrivateKey("ECDSA P-256", EC_KEY))
    # One newline at the end is what signing by hand leaves; nothing else may stand around it or in it.
    for encoded in (b"***", good + b"\n\n", good + b"\r\n", b" " + good, good[:8] + b"\n" + good[8:], good[:-3]):
        with pytest.raises(ArtifactError, match="not base64"):
            verify_signature(MANIFEST, encoded, [public])


@pytest.fixture
def unsigned(tmp_path: Path) -> bytes:
    out, file = io.BytesIO(), tmp_path / "a.txt"
    file.write_bytes(b"alpha" * 1000)
    write_module_artifact(out, payload_type="mod", files=[file], name="r", device_types=["q"])
    return out.getvalue()


def signed(raw: bytes, key: PrivateKey, *, replace: bool = False) -> bytes:
    out = io.BytesIO()
    sign_artifact(io.BytesIO(raw), out, key, replace=replace)
    return out.getvalue()


def entries(raw: bytes) -> list[tuple[str, int, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return [(one.name, int(one.mtime), tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]


def test_signing_touches_nothing_else(unsigned: bytes) -> None:
    first, second = PrivateKey("ECDSA P-256", EC_KEY), PrivateKey("RSA", RSA_KEY)
    once = signed(unsigned, first)
    twice = signed(once, second, replace=True)
    assert read_artifact(io.BytesIO(once), verify_keys=[first.public_key()]).signed
    assert read_artifact(io.BytesIO(twice), verify_keys=[second.public_key()]).signed
    with pytest.raises(ArtifactError, match="none of the verification keys"):
        read_artifact(io.BytesIO(twice), verify_keys=[first.public_key()])
    for raw in (once, twice):
        assert [one for one in entries(raw) if one[0] != "manifest.sig"] == entries(unsigned)
        assert [name for name, _, _ in entries(raw)][:3] == ["version", "manifest", "manifest.sig"]
    # Times, modes and padding of the other entries stay as well: all but the signature's member is the same.
    start = len(once) - len(unsigned)
    at = once.index(b"manifest.sig")
    assert once[:at] + once[at + start :] == unsigned


def test_signing_refuses_what_is_signed_or_broken(unsigned: bytes) -> None:
    key = PrivateKey("ECDSA P-256", EC_KEY)
    with pytest.raises(AlreadySigned):
        signed(signed(unsigned, key), key)
    broken = bytearray(unsigned)
    broken[unsigned.index(b"data/0000.tar.gz") + 512 + 30] ^= 1
    out = io.BytesIO()
    with pytest.raises(ArtifactError):
        sign_artifact(io.BytesIO(broken), out, key)
    assert out.getvalue() == b""


def test_other_keys_are_refused_by_name() -> None:
    edwards = ed25519.Ed25519PrivateKey.generate()
    with pytest.raises(KeyRefused, match="Ed25519 keys do not sign artifacts"):
        load_private_key(private_pem(edwards))
    with pytest.raises(KeyRefused, match="Ed25519 keys do not sign artifacts"):
        load_public_key(public_pem(edwards))
    with pytest.raises(KeyRefused, match="secp384r1"):
        load_private_key(private_pem(ec.generate_private_key(ec.SECP384R1())))
    with pytest.raises(KeyRefused, match="encrypted"):
        load_private_key(private_pem(EC_KEY, encryption=ser.BestAvailableEncryption(b"secret")))
    with pytest.raises(KeyRefused, match="not a readable PEM"):
        load_private_key(b"nothing")
    with pytest.raises(KeyRefused, match="not a readable PEM"):
        load_public_key(b"nothing")
