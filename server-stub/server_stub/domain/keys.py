# SPDX-License-Identifier: Apache-2.0
"""Device keys: reads the public key a device shows and checks its signature over a request's raw body.

Takes RSA, ECDSA and Ed25519; refuses every other kind.
"""

import base64
import binascii

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from server_stub.errors import Malformed, Unauthorized

# A shorter one protects nobody; a longer one takes long to verify.
SHORTEST_RSA, LONGEST_RSA = 2048, 8192
# All keys in use have 65537.
LARGEST_EXPONENT = 1 << 32
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def parse_public_key(pem: str) -> PublicKey:
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise Malformed("The public key is not a readable PEM key.") from None
    if not isinstance(key, PublicKey):
        raise Malformed("The public key must be RSA, ECDSA or Ed25519.")
    if isinstance(key, rsa.RSAPublicKey) and not SHORTEST_RSA <= key.key_size <= LONGEST_RSA:
        raise Malformed(f"An RSA key must have {SHORTEST_RSA} to {LONGEST_RSA} bits.")
    if isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e > LARGEST_EXPONENT:
        raise Malformed("The RSA key's exponent is larger than 32 bits.")
    return key


def canonical_pem(key: PublicKey) -> str:
    """One text per key, whatever line breaks the device sent."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def verify(key: PublicKey, signature: str, body: bytes) -> None:
    try:
        raw = base64.b64decode(signature.strip(), validate=True)
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(raw, body, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(raw, body, ec.ECDSA(hashes.SHA256()))
        else:
            key.verify(raw, body)
    except (binascii.Error, ValueError, InvalidSignature):
        raise Unauthorized("The signature of the request does not match its body and key.") from None
