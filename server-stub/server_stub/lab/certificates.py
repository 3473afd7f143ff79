# SPDX-License-Identifier: Apache-2.0
"""Certificates that a device must not take, made anew at each start of a laboratory's server."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric import ec

from server_stub import tls
from server_stub.tls import Issuer, Subject

DAY = timedelta(days=1)
OTHER_NAME = "other.invalid"


def make(folder: Path, hosts: tuple[str, ...], now: datetime) -> Mapping[str, SSLContext]:
    """What to show, by the words of the fault `certificate`; `folder` holds the server's authority."""
    authority = tls.load_authority(folder, now)
    good = Subject((*tls.ALWAYS, *hosts), now - DAY, now + DAY)
    own = Issuer(None, ec.generate_private_key(ec.SECP256R1()))
    return {
        "expired": _context(authority, Subject(good.hosts, now - 2 * DAY, now - DAY)),
        "not_yet_valid": _context(authority, Subject(good.hosts, now + DAY, now + 2 * DAY)),
        "other_name": _context(authority, Subject((OTHER_NAME,), good.begin, good.end)),
        "unknown_authority": _context(tls.new_authority(now), good),
        "self_signed": _context(own, good, own.key),
    }


def _context(issuer: Issuer, subject: Subject, key: ec.EllipticCurvePrivateKey | None = None) -> SSLContext:
    key = key or ec.generate_private_key(ec.SECP256R1())
    context = SSLContext(PROTOCOL_TLS_SERVER)
    # Python takes certificates from files only.
    with TemporaryDirectory() as name:
        certificate, secret = Path(name) / "shown.pem", Path(name) / "shown.key"
        certificate.write_bytes(tls.issue(issuer, key.public_key(), subject))
        secret.write_bytes(tls.key_pem(key))
        context.load_cert_chain(certificate, secret)
    return context
