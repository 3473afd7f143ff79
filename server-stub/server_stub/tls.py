# SPDX-License-Identifier: Apache-2.0
"""The test certificate authority and the server's certificate. For laboratories: the CA's key lies beside it.

The CA is made once and kept, since its certificate is built into images. The server's certificate is issued
anew at each start, so that the names given on the command line always hold.
"""

import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server_stub.errors import BadInput, HostProblem
from server_stub.home import write_private

# 10.0.2.2 is the host as a guest of QEMU's user network sees it.
ALWAYS = ("127.0.0.1", "localhost", "10.0.2.2")
# A board's clock may run behind its host's.
BACKDATED = timedelta(days=1)
CA_LIFE = timedelta(days=3652)
SERVER_LIFE = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    ca: Path
    certificate: Path
    key: Path


def choose(folder: Path, certificate: Path | None, key: Path | None, hosts: tuple[str, ...], now: datetime) -> TlsFiles:
    """The owner's certificate, or one of the server's own authority. Raises BadInput, HostProblem."""
    if certificate is None or key is None:
        return prepare(folder, hosts, now)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as problem:
        said = problem.strerror or str(problem)
        raise BadInput(
            f"{certificate} and {key} are no certificate and its key ({said}): give two PEM files."
        ) from None
    return TlsFiles(certificate, certificate, key)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs: an authority, or (without a certificate) the key that is certified."""

    certificate: x509.Certificate | None
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Subject:
    """For which names a certificate is good, and from when to when."""

    hosts: tuple[str, ...]
    begin: datetime
    end: datetime


def prepare(folder: Path, hosts: tuple[str, ...], now: datetime) -> TlsFiles:
    authority = load_authority(folder, now)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = Subject((*ALWAYS, *hosts), now - BACKDATED, now + SERVER_LIFE)
    files = TlsFiles(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    write_private(files.key, key_pem(key))
    write_private(files.certificate, issue(authority, key.public_key(), subject))
    return files


def load_authority(folder: Path, now: datetime) -> Issuer:
    """The authority in a folder, made if there is none. Raises HostProblem."""
    ca_path, ca_key_path = folder / "ca.pem", folder / "ca.key"
    if not (ca_path.exists() and ca_key_path.exists()):
        made = new_authority(now)
        assert made.certificate is not None
        # The key first: a certificate without its key would be handed out and never used.
        write_private(ca_key_path, key_pem(made.key))
        write_private(ca_path, _pem(made.certificate))
    try:
        ca = x509.load_pem_x509_certificate(ca_path.read_bytes())
        ca_key = serialization.load_pem_private_key(ca_key_path.read_bytes(), password=None)
    except ValueError as error:
        raise HostProblem(
            f"{ca_path} or {ca_key_path.name} beside it is damaged: delete both, and devices need the new one."
        ) from error
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    return Issuer(ca, ca_key)


def new_authority(now: datetime) -> Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial number in the name keeps the authorities of two laboratories apart.
    serial = x509.random_serial_number()
    name = _name(f"Laboratory CA {serial:040x}"[:60])
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(own_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issuer(certificate, key)


def issue(issuer: Issuer, public: ec.EllipticCurvePublicKey, subject: Subject) -> bytes:
    """A server's certificate with that of its authority, if it has one, as PEM."""
    ca = issuer.certificate
    names = x509.SubjectAlternativeName([_alternative(host) for host in dict.fromkeys(subject.hosts)])
    own_id = x509.SubjectKeyIdentifier.from_public_key(public)
    ca_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value if ca else own_id
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name("Laboratory server"))
        .issuer_name(ca.subject if ca else _name("Laboratory server"))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(subject.begin)
        .not_valid_after(subject.end)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(own_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    return _pem(certificate) + (_pem(ca) if ca else b"")


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
