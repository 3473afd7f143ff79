# SPDX-License-Identifier: Apache-2.0
"""Artifacts on their way in and out: what is kept, what leaves nothing behind, ranges, links, the journal."""

import gzip
import io
import shutil
import signal
import subprocess
import tarfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from server_stub.domain import links, tokens
from tests.protocol.conftest import ARTIFACTS, DEVICE_TYPE, MANAGEMENT, Device, Operator, Server
from updater.artifact import write_module_artifact


@pytest.fixture(scope="module")
def uploaded(operator: Operator, write_artifact: Callable[..., Path]) -> bytes:
    path = write_artifact("ranges", size=300_000)
    assert operator.upload(path).status_code == 201
    return path.read_bytes()


@pytest.fixture
def link(uploaded: bytes, device: Device, operator: Operator) -> str:
    assert uploaded
    operator.deploy("ranges", device.id)
    uri: str = device.poll().json()["artifact"]["source"]["uri"]
    return uri.removeprefix(device.server.url)


def files_of(server: Server) -> set[str]:
    return {path.name for path in (server.folder / "artifacts").iterdir()}


def test_an_upload_tells_what_is_inside(operator: Operator, write_artifact: Callable[..., Path]):
    path = write_artifact("told")
    answer = operator.upload(path)
    assert answer.status_code == 201
    shown = operator.get(answer.headers["Location"])
    assert (shown["name"], shown["description"], shown["signed"]) == ("told", "for a test", False)
    assert shown["device_types_compatible"] == [DEVICE_TYPE]
    assert shown["size"] == path.stat().st_size
    (update,) = shown["updates"]
    (file,) = update["files"]
    assert update["type_info"] == {"type": "rootfs-image"}
    assert (file["name"], file["size"], len(file["checksum"])) == ("told.img", 20_000, 64)
    assert shown["artifact_provides"]["rootfs-image.version"] == "told"
    assert "rootfs-image.*" in shown["clears_artifact_provides"]
    assert shown in operator.get(f"{ARTIFACTS}?name=told")


def test_the_same_name_and_type_is_kept_once(operator: Operator, server: Server, write_artifact: Callable[..., Path]):
    assert operator.upload(write_artifact("twice")).status_code == 201
    before = files_of(server)
    assert operator.upload(write_artifact("twice")).status_code == 422
    assert files_of(server) == before
    assert operator.upload(write_artifact("twice", device_type="toaster")).status_code == 201


@pytest.mark.parametrize("where", [0.001, 0.5, 0.9, "cut", "empty", "text"])
def test_a_damaged_artifact_leaves_nothing(
    where: float | str, operator: Operator, server: Server, write_artifact: Callable[..., Path], tmp_path: Path
):
    before = files_of(server)
    name = uuid.uuid4().hex
    content = bytearray(write_artifact(name).read_bytes())
    if isinstance(where, float):
        content[int(len(content) * where)] ^= 1
    changed = {"cut": content[:-5000], "empty": b"", "text": b"no artifact " * 1000}.get(str(where), content)
    path = tmp_path / "damaged.mender"
    path.write_bytes(changed)
    answer = operator.upload(path)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert files_of(server) == before
    assert operator.get(f"{ARTIFACTS}?name={name}") == []


def test_an_upload_that_is_not_one_leaves_nothing(operator: Operator, server: Server):
    before = files_of(server)
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    whole = b'--x\r\nContent-Disposition: form-data; name="artifact"\r\n\r\nabc\r\n--x--\r\n'
    for headers, body in [
        ({"Content-Type": "application/json"}, b"{}"),
        (kind, b""),
        (kind, whole[:-6]),
        (kind, whole.replace(b"artifact", b"description")),
        (kind, whole.replace(b"--x--\r\n", whole)),
        (kind, whole.replace(b'; name="artifact"', b"")),
        (kind, whole),
        ({"Content-Type": "multipart/form-data"}, whole),
    ]:
        bearer = {"Authorization": f"Bearer {operator.token}", **headers}
        assert server.call("POST", ARTIFACTS, data=body, headers=bearer).status_code == 400, body
    assert server.call("POST", ARTIFACTS, data=whole, headers=kind).status_code == 401
    assert files_of(server) == before


@pytest.mark.skipif(shutil.which("mender-artifact") is None, reason="needs the mender-artifact tool")
def test_artifacts_of_the_reference_tool_are_taken(operator: Operator, tmp_path: Path):
    image, path = tmp_path / "image", tmp_path / "artifact.mender"
    image.write_bytes(b"image" * 1000)
    command = ["mender-artifact", "write", "rootfs-image", "-t", DEVICE_TYPE, "-n", "by-tool"]
    subprocess.run([*command, "-f", str(image), "-o", str(path)], check=True, capture_output=True)
    assert operator.upload(path).status_code == 201


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-", 0, None),
        ("bytes=0-0", 0, 0),
        ("bytes=1000-", 1000, None),
        ("bytes=1000-1999", 1000, 1999),
        ("BYTES=5-6", 5, 6),
        ("bytes=-1", -1, None),
        ("bytes=-999999999", 0, None),
        ("bytes=100-999999999", 100, None),
    ],
)
def test_a_range_is_answered_exactly(asked, first, last, link: str, server: Server, uploaded: bytes):
    size = len(uploaded)
    begin = first % size
    end = size - 1 if last is None else last
    answer = server.call("GET", link, headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {begin}-{end}/{size}"
    assert answer.headers["Content-Length"] == str(end - begin + 1)
    assert answer.content == uploaded[begin : end + 1]


@pytest.mark.parametrize("asked", [None, "bytes=", "bytes=-", "bytes=9-3", "bytes=a-b", "items=0-1", "bytes=0-1,5-6"])
def test_what_is_no_single_range_gets_the_whole(asked, link: str, server: Server, uploaded: bytes):
    answer = server.call("GET", link, headers={"Range": asked} if asked else {})
    assert answer.status_code == 200
    assert "Content-Range" not in answer.headers
    assert "Transfer-Encoding" not in answer.headers
    assert answer.headers["Content-Length"] == str(len(uploaded))
    assert answer.content == uploaded


def test_a_range_behind_the_end_is_not_satisfiable(link: str, server: Server, uploaded: bytes):
    for asked in (f"bytes={len(uploaded)}-", "bytes=999999999-", "bytes=-0"):
        answer = server.call("GET", link, headers={"Range": asked})
        assert answer.status_code == 416
        assert answer.headers["Content-Range"] == f"bytes */{len(uploaded)}"


def test_a_link_counts_for_one_artifact_and_cannot_be_changed(link: str, server: Server):
    path, _, token = link.partition("?token=")
    device, until, mac = token.split(".")
    for wrong in (
        "",
        "x",
        f"{device}.{int(until) + 1}.{mac}",
        f"other.{until}.{mac}",
        f"{device}.{until}.{mac[:-1]}",
        f"{device}.{until}.é",
        f"{device}.²³.{mac}",
    ):
        assert server.call("GET", path, params={"token": wrong}).status_code == 403, wrong
    assert server.call("GET", f"/artifacts/download/{uuid.uuid4()}?token={token}").status_code == 403
    head = server.call("HEAD", link)
    assert (head.status_code, head.content) == (200, b"")


def test_an_expired_link_is_refused(link: str, server: Server, device: Device):
    path = link.partition("?")[0]
    secret = server.secret()
    expired = datetime.now(UTC) - timedelta(seconds=5)
    token = links.sign(secret, path.rpartition("/")[2], device.id, expired)
    assert server.call("GET", path, params={"token": token}).status_code == 403


def test_the_journal_tells_what_devices_asked(device: Device, operator: Operator, uploaded: bytes):
    journal = f"{MANAGEMENT}/lab/journal"
    before = operator.get(journal)[-1]["seq"]
    deployment = operator.deploy("ranges", device.id)
    link = device.poll().json()["artifact"]["source"]["uri"].removeprefix(device.server.url)
    device.server.call("GET", link, headers={"Range": "bytes=100-299"})
    device.server.call("GET", link)
    device.report(deployment, "fine")
    device.authenticate()
    entries = operator.get(f"{journal}?after={before}")
    assert [entry["seq"] for entry in entries] == list(range(before + 1, before + 6))
    assert {entry["device"] for entry in entries} == {device.id}
    last_part = [entry["path"].rpartition("/")[2] for entry in entries]
    assert last_part[0::3] == ["next", "status"]
    assert last_part[4] == "auth_requests"
    told = [(entry["method"], entry["range"], entry["status"]) for entry in entries]
    assert told == [
        ("POST", None, 200),
        ("GET", "bytes=100-299", 206),
        ("GET", None, 200),
        ("PUT", None, 400),
        ("POST", None, 200),
    ]
    assert [entry["bytes"] for entry in entries[1:3]] == [200, len(uploaded)]
    assert operator.call("GET", f"{journal}?after=x").status_code == 400


def test_a_broken_download_is_in_the_journal(device: Device, operator: Operator, write_artifact: Callable[..., Path]):
    size = 30_000_000
    assert operator.upload(write_artifact("large", size=size)).status_code == 201
    operator.deploy("large", device.id)
    uri = device.poll().json()["artifact"]["source"]["uri"]
    journal = f"{MANAGEMENT}/lab/journal?after={operator.get(f'{MANAGEMENT}/lab/journal')[-1]['seq']}"
    with requests.get(uri, verify=device.server.ca, stream=True, timeout=30) as answer:
        assert len(answer.raw.read(100_000)) == 100_000
    entry = operator.get(journal)[0]
    assert (entry["device"], entry["status"]) == (device.id, 200)
    assert 100_000 <= entry["bytes"] < size


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    """A small artifact of a large nothing: 7 GiB of it are announced."""
    content, path = tmp_path / "content", tmp_path / "bomb.mender"
    content.write_bytes(b"x" * 10_000)
    with path.open("wb") as out:
        write_module_artifact(
            out, payload_type="single-file", files=[content], name="bomb", device_types=["qemu-board"]
        )
    with tarfile.open(path) as outer:
        members = [(one.name, outer.extractfile(one).read()) for one in outer.getmembers()]  # type: ignore[union-attr]
    inner = io.BytesIO()
    with gzip.GzipFile(fileobj=inner, mode="wb") as packed:
        head = tarfile.TarInfo("content")
        head.size = 7 << 30
        packed.write(head.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(64):
            packed.write(bytes(1 << 20))
    with tarfile.open(path, "w") as outer:
        for name, data in members:
            kept = inner.getvalue() if name.startswith("data/") else data
            entry = tarfile.TarInfo(name)
            entry.size = len(kept)
            outer.addfile(entry, io.BytesIO(kept))
    return path


def test_a_payload_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    bomb: Path, prepared: Path, tmp_path: Path
):
    server = Server(shutil.copytree(prepared, tmp_path / "server"), ("--max-payload-size", "1G"))
    server.start()
    operator = Operator(server, tokens.for_local(server.secret(), datetime.now(UTC)))
    answer = operator.upload(bomb)
    assert answer.status_code == 413, answer.text
    assert "unpacked" in answer.json()["error"]
    assert server.end(signal.SIGTERM) == 0
    assert list((server.folder / "artifacts").iterdir()) == []
