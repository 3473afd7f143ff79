# SPDX-License-Identifier: Apache-2.0
"""Small servers written by hand, which misbehave as they are told, and certificates for them."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from updater.server.download import Download
from updater.server.http import Connector

CHUNK = 65536
Handler = Callable[[socket.socket], None]


class Pauses:
    """A clock whose pauses take no time; `then` happens in each."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.slept: list[float] = []
        self.then = then

    def now(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.then()


def tries(number: int, pause: float = 1.0) -> Iterator[float]:
    """The pauses between so many tries."""
    return iter([pause] * (number - 1))


def everything(download: Download, chunk: int = CHUNK) -> bytes:
    with closing(download):
        return b"".join(iter(lambda: download.read(chunk), b""))


def get(connector: Connector, url: str, body: bytes | None = None) -> bytes:
    return connector.open("PUT" if body else "GET", url, {"X-One": "1"}, body).whole().body


@dataclass
class Peer:
    """A server that serves one connection after the other; `asked` holds the heads of the requests."""

    port: int
    scheme: str = "http"
    host: str = "127.0.0.1"
    asked: list[list[str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/artifact"

    @property
    def ranges(self) -> list[str]:
        return [self.header("range", number) for number in range(len(self.asked))]

    def header(self, name: str, number: int = 0) -> str:
        lines = (line.partition(": ") for line in self.asked[number][1:])
        return next((value for found, _, value in lines if found.lower() == name), "")


@contextmanager
def peer(
    *answers: bytes | Handler, tls: ssl.SSLContext | None = None, name: str = "127.0.0.1", family: int = socket.AF_INET
) -> Iterator[Peer]:
    """Serves each connection with the next of `answers`, bytes to be sent or what is to be done after the request."""
    bound = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.create_server((bound, 0), family=socket.AddressFamily(family)) as listener:
        made = Peer(listener.getsockname()[1], "https" if tls else "http", name)
        thread = threading.Thread(target=_serve, args=(listener, answers, made, tls), daemon=True)
        thread.start()
        yield made
        with suppress(OSError):  # whoever was not asked need not wait
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()


def _serve(
    listener: socket.socket, answers: tuple[bytes | Handler, ...], made: Peer, tls: ssl.SSLContext | None
) -> None:
    for answer in answers:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with suppress(OSError), connection:  # the client may leave whenever it likes
            secured = tls.wrap_socket(connection, server_side=True) if tls else connection
            with secured:
                made.asked.append(read_request(secured))
                if isinstance(answer, bytes):
                    secured.sendall(answer)
                else:
                    answer(secured)
    listener.close()


def read_request(connection: socket.socket) -> list[str]:
    """The head of a request, line by line; its body is read too, because what is left would make a reset of the end."""
    with connection.makefile("rb") as lines:
        head = [line.decode().rstrip("\r\n") for line in iter(lines.readline, b"\r\n") if line]
        lengths = [int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:")]
        lines.read(sum(lengths))
    return head


def silent(begin: bytes = b"") -> Handler:
    """Sends `begin` and then nothing any more, until the other side gives up."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(begin)
        while connection.recv(CHUNK):
            pass

    return handle


def trickle(content: bytes, pause: float) -> Handler:
    """Sends a byte at a time."""

    def handle(connection: socket.socket) -> None:
        for number in range(len(content)):
            connection.sendall(content[number : number + 1])
            threading.Event().wait(pause)

    return handle


class Authority:
    """Issues certificates, for a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        certificate = self._build(self._name, self._key.public_key(), ca=True)
        self.certificate = self._write("ca.pem", certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, password: bytes = b"") -> tuple[Path, Path]:
        """A certificate for a host or a client, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._build(subject, key.public_key(), name)
        secret = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        words = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, secret)
        file = name.replace(":", "_")
        return self._write(f"{file}.crt", certificate.public_bytes(pem)), self._write(f"{file}.key", words)

    def server(self, name: str, ask_clients: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name))
        if ask_clients:
            context.load_verify_locations(self.certificate)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _build(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, name: str = "", ca: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        begun = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        begun = begun.serial_number(x509.random_serial_number())
        begun = begun.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        begun = begun.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if name:
            begun = begun.add_extension(x509.SubjectAlternativeName([_general(name)]), critical=False)
        return begun.sign(self._key, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
