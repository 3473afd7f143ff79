# SPDX-License-Identifier: Apache-2.0
"""A real server process on loopback, an operator who is logged in, and devices with keys of every kind."""

import base64
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from server_stub.storage import settings
from server_stub.storage.database import Database, read_url, sqlite_at
from tests.protocol.postgresql import Cluster, cluster

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse"
DEVICE_TYPE = "qemu-board"
MANAGEMENT = "/api/management/v1"
DEVICES = "/api/management/v2/devauth/devices"
DEPLOYMENTS = f"{MANAGEMENT}/deployments/deployments"
ARTIFACTS = f"{MANAGEMENT}/deployments/artifacts"
DEVICE_DEPLOYMENTS = "/api/devices/v1/deployments/device/deployments"


def run_cli(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), input=stdin, capture_output=True, text=True, env=environment(), timeout=60)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "server_stub", *words]


def environment() -> dict[str, str]:
    # A process that may not keep what it has compiled does that anew at each start, which is a tenth of it.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server-stub")])}


@dataclass
class Server:
    """One server process on one directory; may be killed and started again."""

    folder: Path
    options: tuple[str, ...] = ("--laboratory",)
    database: str | None = None
    process: subprocess.Popen[str] | None = None
    url: str = ""
    ca: str = ""
    http: requests.Session = field(default_factory=requests.Session)

    def start(self, stderr: IO[str] | None = None) -> None:
        where = ("--database", self.database) if self.database else ()
        words = ("start", "--dir", str(self.folder), "--json", *where, *self.options)
        pipes = {"stdout": subprocess.PIPE, "stderr": stderr}
        self.process = subprocess.Popen(command(*words), **pipes, text=True, env=environment())
        assert self.process.stdout is not None
        said = json.loads(self.process.stdout.readline())
        assert said["pid"] == self.process.pid
        self.url, self.ca = said["url"], said["ca"]
        self.http.close()
        self.http = requests.Session()
        self.http.verify = self.ca
        # Nothing of the environment (proxies, .netrc) may come between.
        self.http.trust_env = False

    def end(self, number: int) -> int:
        assert self.process is not None
        self.http.close()
        self.process.send_signal(number)
        with self.process:
            return self.process.wait(30)

    def secret(self) -> bytes:
        """The key under every token and link."""
        database = Database(read_url(self.database) if self.database else sqlite_at(self.folder))
        try:
            with database.reading() as connection:
                return settings.secret(connection)
        finally:
            database.close()

    def add_user(self, name: str, role: str = "admin") -> subprocess.CompletedProcess[str]:
        where = ("--database", self.database) if self.database else ()
        words = ("user", "add", name, "--password-stdin", "--role", role, "--dir", str(self.folder), *where)
        return run_cli(*words, stdin=PASSWORD)

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.http.request(method, self.url + path, timeout=30, **more)

    def raw(self, *pieces: bytes, whole: bool = False) -> bytes:
        """What the server says to these bytes: the first of it, or all until it closes the connection."""
        context = ssl.create_default_context(cafile=self.ca)
        port = int(self.url.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            try:
                for piece in pieces:
                    secured.sendall(piece)
                said = secured.recv(65536)
                while whole and (more := secured.recv(65536)):
                    said += more
                return said
            except (ConnectionError, ssl.SSLError):
                return b""


@dataclass
class Operator:
    server: Server
    token: str

    @classmethod
    def logged_in(cls, server: Server) -> "Operator":
        answer = server.call("POST", f"{MANAGEMENT}/useradm/auth/login", auth=("operator", PASSWORD))
        assert answer.status_code == 200
        return cls(server, answer.text)

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.server.call(method, path, headers={"Authorization": f"Bearer {self.token}"}, **more)

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def device(self, identity: dict[str, str]) -> dict[str, Any]:
        found = [one for one in self.get(f"{DEVICES}?per_page=500") if one["identity_data"] == identity]
        assert len(found) == 1
        return dict(found[0])

    def decide(self, identity: dict[str, str], status: str, which: int = -1) -> None:
        device = self.device(identity)
        path = f"{DEVICES}/{device['id']}/auth/{device['auth_sets'][which]['id']}/status"
        assert self.call("PUT", path, json={"status": status}).status_code == 204

    def upload(self, path: Path) -> requests.Response:
        with path.open("rb") as file:
            return self.call("POST", ARTIFACTS, files={"artifact": file}, data={"description": "for a test"})

    def deploy(self, artifact: str, *devices: str, **more: Any) -> str:
        order = {"name": f"to {artifact}", "artifact_name": artifact, "devices": devices, **more}
        answer = self.call("POST", DEPLOYMENTS, json=order)
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"].rpartition("/")[2]

    def part(self, deployment: str, device: str) -> dict[str, Any]:
        found = [one for one in self.get(f"{DEPLOYMENTS}/{deployment}/devices") if one["id"] == device]
        assert len(found) == 1
        return dict(found[0])


Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def make_key(kind: str) -> Key:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else ed25519.Ed25519PrivateKey.generate()


@dataclass
class Device:
    """What a device does on the wire, one step at a time."""

    server: Server
    identity: dict[str, str]
    key: Key
    token: str = ""
    id: str = ""

    @classmethod
    def preauthorized(cls, operator: Operator) -> "Device":
        """One that the operator has let in before it came, with its token."""
        made = cls(operator.server, {"mac": uuid.uuid4().hex, "sku": "b"}, make_key("ed25519"))
        order = {"identity_data": made.identity, "pubkey": made.pubkey()}
        answer = operator.call("POST", DEVICES, json=order)
        assert answer.status_code == 201, answer.text
        assert made.authenticate().status_code == 200
        made.id = answer.headers["Location"].rpartition("/")[2]
        return made

    def pubkey(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def sign(self, body: bytes) -> str:
        if isinstance(self.key, rsa.RSAPrivateKey):
            raw = self.key.sign(body, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(self.key, ec.EllipticCurvePrivateKey):
            raw = self.key.sign(body, ec.ECDSA(hashes.SHA256()))
        else:
            raw = self.key.sign(body)
        return base64.b64encode(raw).decode()

    def introduction(self) -> bytes:
        return json.dumps({"id_data": json.dumps(self.identity), "pubkey": self.pubkey()}).encode()

    def authenticate(self, body: bytes | None = None, signature: str | None = None) -> requests.Response:
        body = self.introduction() if body is None else body
        headers = {"X-MEN-Signature": self.sign(body) if signature is None else signature, "Authorization": "API_KEY"}
        answer = self.server.call("POST", "/api/devices/v1/authentication/auth_requests", data=body, headers=headers)
        if answer.status_code == 200:
            self.token = answer.text
        return answer

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return self.server.call(method, path, headers=headers, **more)

    def poll(self, artifact: str = "old", *, provides: dict[str, str] | None = None, **more: Any) -> requests.Response:
        asked = {"device_type": DEVICE_TYPE, "artifact_name": artifact, **(provides or {})}
        return self.call("POST", f"{DEVICE_DEPLOYMENTS}/next", json=asked, **more)

    def polls_until_refused(self) -> list[int]:
        """The statuses. The count begins anew each minute, which may fall into this."""
        codes = [204]
        while codes[-1] == 204 and len(codes) < 1300:
            codes.append(self.poll().status_code)
        return codes

    def tell(self, **attributes: Any) -> None:
        """Send the inventory."""
        told = [{"name": name, "value": value} for name, value in attributes.items()]
        answer = self.call("PUT", "/api/devices/v1/inventory/device/attributes", json=told)
        assert answer.status_code == 200, answer.text

    def report(self, deployment: str, status: str, **more: str) -> int:
        path = f"{DEVICE_DEPLOYMENTS}/{deployment}/status"
        return self.call("PUT", path, json={"status": status, **more}).status_code


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's directory in which an operator is known, to be copied."""
    folder = tmp_path_factory.mktemp("prepared") / "server"
    added = run_cli("user", "add", "operator", "--password-stdin", "--dir", str(folder), stdin=PASSWORD)
    assert added.returncode == 0, added.stderr
    return folder


@pytest.fixture(scope="session")
def databases() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture(scope="session")
def prepared_database(databases: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database in which an operator is known, to be copied."""
    url = databases.create("prepared")
    assert Server(tmp_path_factory.mktemp("prepared") / "server", database=url).add_user("operator").returncode == 0
    return "prepared"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that uses the server runs on both databases, unless its module is about clients and names one."""
    if "server" in metafunc.fixturenames:
        databases = getattr(metafunc.module, "DATABASES", ("sqlite", "postgresql"))
        metafunc.parametrize("server", databases, indirect=True, scope="module")


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server on either database."""
    folder = tmp_path_factory.mktemp("lab") / "server"
    if request.param == "sqlite":
        server = Server(shutil.copytree(prepared, folder))
    else:
        cluster: Cluster = request.getfixturevalue("databases")
        known = request.getfixturevalue("prepared_database")
        server = Server(folder, database=cluster.create(uuid.uuid4().hex, known))
    server.start()
    yield server
    assert server.end(signal.SIGTERM) == 0


@pytest.fixture(scope="module")
def operator(server: Server) -> Operator:
    return Operator.logged_in(server)


@pytest.fixture
def new_device(server: Server) -> Callable[..., Device]:
    def make(kind: str = "ed25519") -> Device:
        return Device(server, {"mac": uuid.uuid4().hex, "sku": "b"}, make_key(kind))

    return make


@pytest.fixture
def accepted_device(operator: Operator) -> Callable[[], Device]:
    return lambda: Device.preauthorized(operator)


@pytest.fixture
def device(new_device: Callable[..., Device], operator: Operator) -> Device:
    """A device that is accepted and has its token."""
    made = new_device()
    assert made.authenticate().status_code == 401
    operator.decide(made.identity, "accepted")
    assert made.authenticate().status_code == 200
    made.id = operator.device(made.identity)["id"]
    return made


@pytest.fixture(scope="session")
def write_artifact(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """An artifact of random content, uncompressed: a large one costs no time."""
    from updater.artifact import Compression, write_rootfs_artifact

    folder = tmp_path_factory.mktemp("artifacts")

    def write(name: str, size: int = 20_000, device_type: str = DEVICE_TYPE, **more: Any) -> Path:
        image, path = folder / f"{name}.img", folder / f"{uuid.uuid4()}.mender"
        image.write_bytes(os.urandom(size))
        with path.open("wb") as out:
            options = {"device_types": [device_type], "compression": Compression.NONE, **more}
            write_rootfs_artifact(out, image=image, name=name, **options)
        return path

    return write
