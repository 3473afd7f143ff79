# SPDX-License-Identifier: Apache-2.0
"""The device's key and the request signed with it."""

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa, x25519

from updater.errors import UpdaterError
from updater.server import keys
from updater.server.credentials import KEY_FILE, REQUEST_FILE, AuthRequest, Credentials

FORM = serialization.PrivateFormat
Private = (
    ed25519.Ed25519PrivateKey
    | rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | dsa.DSAPrivateKey
    | x25519.X25519PrivateKey
)
Make = Callable[[], Private]
KINDS: dict[str, Make] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
}


def pem(key: Private, form: FORM = FORM.PKCS8, password: bytes = b"") -> bytes:
    secret: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        secret = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, form, secret)


def check(request: AuthRequest) -> str:
    """Verify a request as a server does; returns the kind of its key."""
    public = serialization.load_pem_public_key(json.loads(request.body)["pubkey"].encode())
    signature, body = base64.b64decode(request.signature, validate=True), request.body.encode()
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, body, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, body, ec.ECDSA(hashes.SHA256()))
    else:
        assert isinstance(public, ed25519.Ed25519PublicKey)
        public.verify(signature, body)
    return type(public).__name__


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_device_without_a_key_makes_one_for_itself(tmp_path: Path) -> None:
    first = Credentials(tmp_path, '{"mac":"1"}', "tenant").request()
    asked = json.loads(first.body)
    assert (asked["id_data"], asked["tenant_token"]) == ('{"mac":"1"}', "tenant")
    assert "Ed25519" in check(first)
    assert {path.name: mode(path) for path in tmp_path.iterdir()} == {KEY_FILE: 0o600, REQUEST_FILE: 0o600}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("configured", [False, True])
def test_keys_of_all_kinds_sign_as_the_server_wants_it(kind: str, configured: bool, tmp_path: Path) -> None:
    path = tmp_path / "maker.pem" if configured else tmp_path / KEY_FILE
    content = pem(KINDS[kind]())
    path.write_bytes(content)
    credentials = Credentials(tmp_path, "i", key=path if configured else None)
    check(credentials.request())
    assert path.read_bytes() == content
    assert (tmp_path / KEY_FILE).exists() is not configured


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_older_ways_to_write_a_key_down_are_read(kind: str, tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(pem(KINDS[kind](), FORM.TraditionalOpenSSL))
    check(Credentials(tmp_path, "i").request())


UNUSABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"no key", r"it is damaged or not a private key in PEM\.  Put the key back"),
    "zeros": (lambda: b"\0" * 119, "it is damaged"),
    "half": (lambda: pem(KINDS["ed25519"]())[:60], "it is damaged"),
    "most": (lambda: pem(KINDS["rsa"]())[:-400], "it is damaged"),
    "encrypted": (lambda: pem(KINDS["ed25519"](), password=b"secret"), "is encrypted"),
    "encrypted of old": (lambda: pem(KINDS["rsa"](), FORM.TraditionalOpenSSL, b"secret"), "is encrypted"),
    "other curve": (lambda: pem(ec.generate_private_key(ec.SECP256K1())), "it is not Ed25519"),
    "exchange": (lambda: pem(x25519.X25519PrivateKey.generate()), "it is not Ed25519"),
    "dsa": (lambda: pem(dsa.generate_private_key(key_size=1024)), "it is not Ed25519"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_key_that_cannot_be_used_is_never_replaced(name: str, tmp_path: Path) -> None:
    make, says = UNUSABLE[name]
    content = make()
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(UpdaterError, match=rf"The device key .*mender-agent\.pem .*{says}"):
        Credentials(tmp_path, "i").request()
    assert (tmp_path / KEY_FILE).read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_an_empty_key_is_what_a_power_cut_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / KEY_FILE).touch()
    check(Credentials(tmp_path, "i").request())
    assert ["is empty, as a power cut can leave it" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("content", [None, b""])
def test_a_key_of_the_maker_is_never_made_up(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "maker.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UpdaterError, match=r"maker\.pem that AuthPrivateKey names is missing or empty"):
        Credentials(tmp_path, "i", key=path).request()
    assert path.exists() is (content is not None)


def test_a_key_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every call to the medium on the way there may be the last one before the power fails."""
    monkeypatch.setattr(os, "write", lambda fd, data, write=os.write: write(fd, data[:50]))
    (tmp_path / "mender-agent.new").write_bytes(b"x" * 500)
    (tmp_path / "mender-agent.new").chmod(0o644)
    seen: list[bytes | None] = []
    flushed: list[str] = []

    def fsync(fd: int) -> None:
        seen.append((tmp_path / KEY_FILE).read_bytes() if (tmp_path / KEY_FILE).exists() else None)
        flushed.append(stat.filemode(os.fstat(fd).st_mode)[0])

    monkeypatch.setattr(os, "fsync", fsync)
    check(Credentials(tmp_path, "i").request())
    whole = (tmp_path / KEY_FILE).read_bytes()
    assert seen == [None, whole, whole, whole]
    assert flushed == ["-", "d", "-", "d"], "the file before its name, then the name"
    assert mode(tmp_path / KEY_FILE) == 0o600


def test_a_full_partition_says_so_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pem"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UpdaterError, match=r"a\.pem cannot be written: No space left on device"):
        keys.write_private(path, b"new")
    assert path.read_bytes() == b"old"


# -- the kept request --------------------------------------------------------------------------------------------------


def test_the_request_is_signed_once_and_kept(tmp_path: Path) -> None:
    first = Credentials(tmp_path, '{"mac":"1"}', "tenant").request()
    kept = (tmp_path / REQUEST_FILE).stat().st_ino
    assert Credentials(tmp_path, '{"mac":"1"}', "tenant").request() == first
    assert (tmp_path / REQUEST_FILE).stat().st_ino == kept


def test_the_kept_request_is_taken_without_the_key_being_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading the library is what costs; the kept file is believed as long as it is about this key."""
    Credentials(tmp_path, "i").request()
    kept = json.loads((tmp_path / REQUEST_FILE).read_text())
    (tmp_path / REQUEST_FILE).write_text(json.dumps({**kept, "signature": "kept"}))
    credentials = Credentials(tmp_path, "i")
    with monkeypatch.context() as patched:
        patched.setattr("updater.server.credentials.load_key", lambda _: pytest.fail("the key was parsed"))
        assert credentials.request().signature == "kept"
    credentials.refused()
    assert not (tmp_path / REQUEST_FILE).exists()
    renewed = credentials.request()
    assert renewed.signature == kept["signature"]
    credentials.refused()  # what was signed just now is not signed again and again
    assert credentials.request() is renewed


def test_a_refused_request_that_cannot_be_removed_is_signed_anew_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Credentials(tmp_path, "i").request()
    kept = json.loads((tmp_path / REQUEST_FILE).read_text())
    (tmp_path / REQUEST_FILE).write_text(json.dumps({**kept, "signature": "kept"}))
    credentials = Credentials(tmp_path, "i")
    assert credentials.request().signature == "kept"

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", read_only)
    monkeypatch.setattr(os, "fsync", read_only)
    credentials.refused()
    assert credentials.request() == good


def test_another_identity_tenant_or_key_wants_another_request(tmp_path: Path) -> None:
    bodies = [
        Credentials(tmp_path, identity, tenant).request().body
        for identity, tenant in (("i", ""), ("j", ""), ("j", "t"))
    ]
    (tmp_path / KEY_FILE).unlink()
    bodies.append(Credentials(tmp_path, "j", "t").request().body)
    assert len(set(bodies)) == 4
    assert "tenant_token" not in json.loads(bodies[0])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"about": 1}', bytes(300)])
def test_a_damaged_request_is_made_anew(content: bytes, tmp_path: Path) -> None:
    first = Credentials(tmp_path, "i").request()
    (tmp_path / REQUEST_FILE).write_bytes(content)
    assert Credentials(tmp_path, "i").request() == first


def test_a_request_that_cannot_be_kept_is_good_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / KEY_FILE).write_bytes(pem(KINDS["ed25519"]()))
    (tmp_path / REQUEST_FILE).mkdir()
    check(Credentials(tmp_path, "i").request())
    assert "the signed request is not kept" in caplog.text
