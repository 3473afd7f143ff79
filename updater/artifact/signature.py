# SPDX-License-Identifier: Apache-2.0
"""Signatures of the manifest: RSA (PKCS#1 v1.5) and ECDSA on P-256, both over SHA-256.

Any other kind of key is refused by name. The cryptography library is imported only when a key is used, because most
starts of the updater use none.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from updater.artifact.errors import ArtifactError, KeyRefused, NotVerified

MAX_SIGNATURE = 16 * 1024
"""Bytes of the manifest.sig entry."""
_P256_BYTES = 32


@dataclass(frozen=True)
class PublicKey:
    """A key that verifies; `algorithm` is "RSA" or "ECDSA P-256", `handle` the library's key."""

    algorithm: str
    handle: Any

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` (raw, not base64) is this key's over `message`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, padding
        from cryptography.hazmat.primitives.hashes import SHA256

        def accepts(*arguments: object) -> bool:
            try:
                self.handle.verify(*arguments)
            except InvalidSignature:
                return False
            return True

        if self.algorithm == "RSA":
            return accepts(signature, message, padding.PKCS1v15(), SHA256())
        # Some signers write DER instead of r and s side by side; both are in the field.
        forms = [signature, *([_to_der(signature)] if len(signature) == 2 * _P256_BYTES else [])]
        return any(accepts(form, message, ec.ECDSA(SHA256())) for form in forms)


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs; fields as in PublicKey. ECDSA signatures differ from one signing to the next."""

    algorithm: str
    handle: Any

    def sign(self, message: bytes) -> bytes:
        """The raw signature of `message`: PKCS#1 v1.5 for RSA, 64 bytes r and s for ECDSA."""
        from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
        from cryptography.hazmat.primitives.hashes import SHA256

        if self.algorithm == "RSA":
            return bytes(self.handle.sign(message, padding.PKCS1v15(), SHA256()))
        r, s = utils.decode_dss_signature(self.handle.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")

    def public_key(self) -> PublicKey:
        return PublicKey(self.algorithm, self.handle.public_key())


def load_private_key(pem: bytes) -> PrivateKey:
    """An unencrypted PEM private key (PKCS#1, SEC1 or PKCS#8); raises KeyRefused."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        handle = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise KeyRefused("the private key is encrypted, which is not supported") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyRefused("the private key is not a readable PEM key") from error
    return PrivateKey(_algorithm(handle), handle)


def load_public_key(pem: bytes) -> PublicKey:
    """A PEM public key (PKIX); raises KeyRefused."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        handle = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyRefused("the public key is not a readable PEM key") from error
    return PublicKey(_algorithm(handle), handle)


def encode_signature(manifest: bytes, key: PrivateKey) -> bytes:
    """The bytes of manifest.sig: base64 without a newline."""
    return base64.b64encode(key.sign(manifest))


def verify_signature(manifest: bytes, encoded: bytes, keys: Sequence[PublicKey]) -> None:
    """Raise ArtifactError unless one of the keys verifies the content of manifest.sig over the manifest's bytes."""
    try:
        # Signing by hand leaves a newline behind, and Go's reader takes it; anything else is no base64.
        signature = base64.b64decode(encoded.removesuffix(b"\n"), validate=True)
    except binascii.Error as error:
        raise ArtifactError("the signature is not base64") from error
    if not any(key.verifies(manifest, signature) for key in keys):
        raise NotVerified("the signature matches none of the verification keys")


def _to_der(signature: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    r, s = signature[:_P256_BYTES], signature[_P256_BYTES:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def _algorithm(handle: object) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(handle, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return "RSA"
    if isinstance(handle, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        if isinstance(handle.curve, ec.SECP256R1):
            return "ECDSA P-256"
        raise KeyRefused(f"ECDSA keys on {handle.curve.name} do not sign artifacts; only P-256 does")
    kind = type(handle).__name__.lstrip("_").removesuffix("PublicKey").removesuffix("PrivateKey")
    raise KeyRefused(f"{kind} keys do not sign artifacts; only RSA and ECDSA P-256 do")
