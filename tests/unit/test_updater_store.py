# SPDX-License-Identifier: Apache-2.0
"""What the updater keeps: the store, the credentials, the log of a deployment."""

import base64
import errno
import json
import logging
import os
import stat
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from updater.deploymentlog import KEPT, MESSAGE_LIMIT, MESSAGES_LIMIT, DeploymentLog
from updater.errors import UpdaterError
from updater.server.credentials import KEY_FILE, REQUEST_FILE, Credentials
from updater.store import UNKNOWN_ARTIFACT, Device, Store, Update

UPDATE = Update("reboot", "d1", artifact_name="new", provides={"artifact_name": "new"}, origin="a", target="b")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- the store ---------------------------------------------------------------------------------------------------------


def test_a_new_device_has_nothing_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.exists()
    assert store.load() == Device()
    assert store.load().artifact_name == UNKNOWN_ARTIFACT


def test_what_is_saved_is_loaded_and_the_saves_of_an_update_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    device = Device({"artifact_name": "old", "x": "y"}, UPDATE)
    for number in (1, 2, 3):
        device = store.save(device)
        assert device.update is not None
        assert device.update.stores == number
        assert Store(tmp_path).load() == device
    assert store.save(Device({"artifact_name": "new"})).update is None
    assert store.exists()
    assert [path.name for path in tmp_path.iterdir()] == [store.path.name]


def test_what_cannot_be_stored_is_an_error_and_the_old_content_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    device = store.save(Device({"artifact_name": "old"}, UPDATE))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UpdaterError, match="cannot be written: No space left on device"):
            store.save(Device({"artifact_name": "new"}))
    assert store.load() == device


def test_a_cut_while_it_is_written_leaves_the_old_content(tmp_path: Path) -> None:
    store = Store(tmp_path)
    device = store.save(Device({"artifact_name": "old"}, UPDATE))
    for torn in (b"", b'{"format": 1, "provi', bytes(100)):
        store.path.with_suffix(".new").write_bytes(torn)
        assert store.load() == device
    saved = store.save(device)
    assert store.load() == saved


def test_the_order_is_content_then_name_then_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(fd: int) -> None:
        did.append("flush directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else f"flush {os.fstat(fd).st_size > 0}")
        fsync(fd)

    def noted_replace(path: Path, target: Path) -> Path:
        did.append(f"{path.suffix} to {target.suffix}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    Store(tmp_path).save(Device())
    assert did == ["flush True", ".new to .json", "flush directory"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (bytes(4096), "is damaged"),
        (b"[]", "another version"),
        (b'{"format": 2}', "another version"),
        (b'{"format": 1}', "is damaged"),
        (b'{"format": 1, "provides": 5}', "is damaged"),
        (b'{"format": 1, "provides": {}, "update": {"state": "reboot"}}', "is damaged"),
        (b'{"format": 1, "provides": {}, "update": {"state": "s", "deployment": "d", "more": 1}}', "is damaged"),
        (b'{"format": 1, "provides": {}, "update": "reboot"}', "is damaged"),
    ],
)
def test_a_damaged_store_is_refused_in_a_sentence(content: bytes, says: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.path.write_bytes(content)
    with pytest.raises(UpdaterError, match=says) as refusal:
        store.load()
    assert str(store.path) in str(refusal.value)


# -- the credentials ---------------------------------------------------------------------------------------------------


def test_the_request_is_signed_once_and_kept(tmp_path: Path) -> None:
    first = Credentials(tmp_path, '{"mac":"1"}', "tenant").request()
    asked = json.loads(first.body)
    assert (asked["id_data"], asked["tenant_token"]) == ('{"mac":"1"}', "tenant")
    public = serialization.load_pem_public_key(asked["pubkey"].encode())
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(base64.b64decode(first.signature), first.body.encode())
    assert {path.name: mode(path) for path in tmp_path.iterdir()} == {KEY_FILE: 0o600, REQUEST_FILE: 0o600}
    kept = (tmp_path / REQUEST_FILE).stat().st_ino
    assert Credentials(tmp_path, '{"mac":"1"}', "tenant").request() == first
    assert (tmp_path / REQUEST_FILE).stat().st_ino == kept


def test_the_kept_request_is_taken_without_the_key_being_parsed(tmp_path: Path) -> None:
    """Loading the library is what costs; the kept file is believed as long as it is about this key."""
    Credentials(tmp_path, "i").request()
    kept = json.loads((tmp_path / REQUEST_FILE).read_text())
    (tmp_path / REQUEST_FILE).write_text(json.dumps({**kept, "signature": "kept"}))
    credentials = Credentials(tmp_path, "i")
    assert credentials.request().signature == "kept"
    credentials.refused()
    assert not (tmp_path / REQUEST_FILE).exists()
    renewed = credentials.request()
    assert renewed.signature == kept["signature"]
    credentials.refused()  # what was signed just now is not signed again and again
    assert credentials.request() is renewed


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


def test_a_key_that_cannot_be_used_is_never_replaced(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for content in (b"", b"no key", other):
        (tmp_path / KEY_FILE).write_bytes(content)
        with pytest.raises(UpdaterError, match=r"The device key .*mender-agent\.pem"):
            Credentials(tmp_path, "i").request()
        assert (tmp_path / KEY_FILE).read_bytes() == content


# -- the log of a deployment -------------------------------------------------------------------------------------------


def emit(log_of: DeploymentLog, message: str, level: int = logging.INFO) -> None:
    log_of.handle(logging.LogRecord("updater", level, "file", 1, message, None, None))


def test_messages_belong_to_their_deployment(tmp_path: Path) -> None:
    log_of = DeploymentLog(tmp_path)
    emit(log_of, "before any")
    log_of.start("d1")
    emit(log_of, "first\nwith a line break")
    emit(log_of, "second \u2028 ☃", logging.ERROR)
    log_of.start("d2")
    emit(log_of, "x" * 5000)
    found = log_of.messages("d1")
    assert [(one["level"], one["message"]) for one in found] == [
        ("info", "first\nwith a line break"),
        ("error", "second \u2028 ☃"),
    ]
    assert all(datetime.fromisoformat(one["timestamp"]).tzinfo for one in found)
    assert [len(one["message"]) for one in log_of.messages("d2")] == [MESSAGE_LIMIT]
    assert log_of.messages("d3") == []


def test_damaged_lines_are_replaced(tmp_path: Path) -> None:
    log_of = DeploymentLog(tmp_path)
    log_of.start("d")
    emit(log_of, "good")
    [path] = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(
            bytes(100) + b'\n{"timest\n\xff\xff\n[]\n7\n{"timestamp": "yesterday", "level": "info", "message": "x"}\n'
        )
    emit(log_of, "good again")
    found = log_of.messages("d")
    assert len(found) == 8
    assert [one["message"] for one in found].count("(a damaged line of the log was here)") == 6
    assert all(datetime.fromisoformat(one["timestamp"]).tzinfo for one in found), "servers refuse other times"


def test_it_is_bounded(tmp_path: Path) -> None:
    log_of = DeploymentLog(tmp_path)
    for number in range(KEPT + 4):
        log_of.start(f"d{number}")
        emit(log_of, "x")
        os.utime(max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns), (number, number))
    assert {path.name for path in tmp_path.iterdir()} == {f"deployments.0000.d{n}.log" for n in range(4, KEPT + 4)}
    for number in range(MESSAGES_LIMIT + 5):
        emit(log_of, str(number))
    found = log_of.messages(f"d{KEPT + 3}")
    assert (len(found), found[-1]["message"]) == (MESSAGES_LIMIT, str(MESSAGES_LIMIT + 4))


def test_the_log_of_a_deployment_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("updater.deploymentlog.LINES_LIMIT", 3)
    log_of = DeploymentLog(tmp_path)
    log_of.start("d")
    for number in range(9):
        emit(log_of, str(number))
    assert [one["message"] for one in log_of.messages("d")] == ["0", "1", "2"], "and does not fill the disk"
    log_of.start("e")
    emit(log_of, "x")
    log_of.stop()
    emit(log_of, "said when nothing is under way")
    assert [one["message"] for one in log_of.messages("e")] == ["x"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "", "x\0y", "n" * 400])
def test_no_deployment_gets_a_file_elsewhere_or_stops_the_update(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    log_of = DeploymentLog(folder)
    log_of.start(name)
    emit(log_of, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert len(list(folder.iterdir())) == (0 if len(name) > 300 else 1)
    assert len(log_of.messages(name)) == (0 if len(name) > 300 else 1)
