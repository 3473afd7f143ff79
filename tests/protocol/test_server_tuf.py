# SPDX-License-Identifier: Apache-2.0
"""What a hostile server promises and delivers: the attacks of the TUF specification by name, and wrong certificates."""

import io
import ssl
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.protocol.conftest import Device
from tests.protocol.faulty import JOURNAL, Faulty, faulty
from tests.protocol.test_server_faults import CLOSE, rule
from updater.artifact import ArtifactError, read_artifact


@pytest.fixture(scope="module")
def running(
    prepared: Path, tmp_path_factory: pytest.TempPathFactory, write_artifact: Callable[..., Path]
) -> Iterator[Faulty]:
    with faulty(prepared, tmp_path_factory.mktemp("tuf"), write_artifact) as made:
        yield made


@pytest.fixture
def lab(running: Faulty) -> Iterator[Faulty]:
    yield running
    running.heal()


def told(device: Device) -> dict[str, Any]:
    answer = device.poll()
    assert answer.status_code == 200
    artifact = answer.json()["artifact"]
    return {**artifact, "uri": artifact["source"]["uri"]}


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def readable(artifact: bytes) -> bool:
    """Whether an artifact is whole, by all its checksums."""
    try:
        for file in read_artifact(io.BytesIO(artifact)).files():
            file.drain()
    except ArtifactError:
        return False
    return True


# -- what is promised --------------------------------------------------------------------------------------------------


def test_a_link_that_has_expired_already(lab: Faulty):
    device, artifact, _ = lab.promised()
    lab.inject(rule("expired_link", times=1))
    seq = lab.last()
    expired, good = told(device), told(device)
    assert lab.see(expired["uri"], **CLOSE).status == 403
    assert expired["source"]["expire"] < good["source"]["expire"]
    assert lab.see(good["uri"], **CLOSE).body == lab.artifacts[artifact]
    assert lab.named(seq) == ["expired_link", None, None, None]


# Whether the name and the device types that are told are the promised artifact's or those of the one behind the link.
PROMISES = {
    "rollback": ("own", "own"),
    "extraneous_dependencies": ("own", "own"),
    "key_compromise": ("own", "own"),
    "wrong_software": ("own", "promised"),
    "arbitrary_software": ("promised", "promised"),
}


@pytest.mark.parametrize("attack", PROMISES)
def test_an_artifact_that_was_not_promised(lab: Faulty, attack: str):
    device, _, name = lab.promised()
    other_name = unique("other")
    other = lab.upload(other_name, device_type="another-board")
    lab.inject(rule(attack, artifact=other, times=1))
    lie, truth = told(device), told(device)
    named, typed = PROMISES[attack]
    assert lie["artifact_name"] == (other_name if named == "own" else name)
    assert lie["device_types_compatible"] == ["another-board" if typed == "own" else "qemu-board"]
    assert (truth["artifact_name"], truth["device_types_compatible"]) == (name, ["qemu-board"])
    assert lie["id"] == other != truth["id"]
    assert lab.see(lie["uri"], **CLOSE).body == lab.artifacts[other]
    assert lab.fired() == [1]


@pytest.mark.parametrize("under", ["own", "promised"])
def test_a_replay_waits_for_a_deployment(lab: Faulty, under: str):
    old_name = unique("old")
    old = lab.upload(old_name)
    device = lab.device()
    lab.inject(rule("replay", artifact=old, under=under, times=1))
    assert device.poll().status_code == 204
    assert lab.fired() == [0]
    name = unique("new")
    lab.upload(name)
    lab.operator.deploy(name, device.id)
    lie = told(device)
    assert lie["artifact_name"] == (old_name if under == "own" else name)
    assert lab.see(lie["uri"], **CLOSE).body == lab.artifacts[old]
    assert lab.fired() == [1]


def test_a_replay_of_what_has_been_deleted_since_changes_nothing(lab: Faulty):
    old = lab.upload(unique("old"))
    device, artifact, _ = lab.promised()
    lab.inject(rule("rollback", artifact=old))
    path = f"/api/management/v1/deployments/artifacts/{old}"
    assert lab.operator.call("DELETE", path).status_code == 204
    assert told(device)["id"] == artifact
    assert lab.fired() == [0]


def test_a_name_that_is_far_ahead(lab: Faulty):
    device, artifact, name = lab.promised()
    lab.inject(rule("fast_forward", name="release-9999", times=1))
    lie = told(device)
    assert lie["artifact_name"] == "release-9999"
    assert lab.see(lie["uri"], **CLOSE).body == lab.artifacts[artifact]
    assert told(device)["artifact_name"] == name


def test_a_device_that_is_kept_in_the_dark(lab: Faulty):
    device, _, name = lab.promised()
    lab.inject(rule("indefinite_freeze", device=device.id))
    assert [device.poll().status_code for _ in range(3)] == [204, 204, 204]
    assert lab.fired() == [3]
    lab.heal()
    assert told(device)["artifact_name"] == name


# -- what is delivered -------------------------------------------------------------------------------------------------


def test_a_mirror_with_as_many_other_bytes(lab: Faulty):
    device, artifact, _ = lab.promised()
    whole = lab.artifacts[artifact]
    lab.inject(rule("malicious_mirror", times=1))
    seq = lab.last()
    link = told(device)["uri"]
    seen = lab.see(link, **CLOSE)
    assert (seen.status, len(seen.body)) == (200, len(whole))
    assert seen.body[: len(whole) // 2] == whole[: len(whole) // 2]
    assert not any(a == b for a, b in zip(seen.body[len(whole) // 2 :], whole[len(whole) // 2 :], strict=True))
    assert lab.see(link, Range="bytes=12000-", **CLOSE).body == seen.body[12_000:]
    assert lab.see(told(device)["uri"], **CLOSE).body == whole
    assert lab.named(seq) == ["malicious_mirror", "malicious_mirror", "malicious_mirror", None, None]


def test_the_head_of_one_and_the_payload_of_another(lab: Faulty):
    other = lab.upload(unique("other"), size=33_333)
    uri, whole = lab.link()
    lab.inject(rule("mix_and_match", artifact=other))
    seen = lab.see(uri, **CLOSE)
    assert seen.status == 200
    assert seen.headers["content-length"] == str(len(seen.body))
    with (
        tarfile.open(fileobj=io.BytesIO(seen.body)) as mixed,
        tarfile.open(fileobj=io.BytesIO(whole)) as head,
        tarfile.open(fileobj=io.BytesIO(lab.artifacts[other])) as payload,
    ):
        for name in head.getnames():
            source = payload if name.startswith("data/") else head
            assert content(mixed, name) == content(source, name)
    assert readable(whole)
    assert readable(lab.artifacts[other])
    assert not readable(seen.body)
    for first in (100, len(whole) - 10, len(seen.body) - 1):
        rest = lab.see(uri, Range=f"bytes={first}-", **CLOSE)
        assert (rest.status, rest.body) == (206, seen.body[first:])
        assert rest.headers["content-range"] == f"bytes {first}-{len(seen.body) - 1}/{len(seen.body)}"
    assert lab.see(uri, Range=f"bytes={len(seen.body)}-", **CLOSE).status == 416
    assert lab.see(uri.replace("token=", "token=x"), **CLOSE).status == 403
    assert lab.fired() == [4]


def content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


@pytest.mark.parametrize("length", ["missing", "huge"])
def test_a_download_that_never_ends(lab: Faulty, length: str):
    uri, whole = lab.link()
    lab.inject(rule("endless_data", length=length))
    seq = lab.last()
    seen = lab.see(uri, most=3_000_000)
    assert seen.end == "open"
    if length == "huge":
        assert seen.headers["content-length"] == str(10**15)
        assert seen.body.startswith(whole)
        assert not any(seen.body[len(whole) :])
    else:
        assert "content-length" not in seen.headers
        assert seen.headers["transfer-encoding"] == "chunked"
    assert lab.named(seq) == ["endless_data"]
    # It ends with the client, and the server does not go on for itself.
    before = -1
    while (sent := lab.operator.get(f"{JOURNAL}?after={seq}")[0]["bytes"]) != before:
        before = sent
    assert lab.see(uri, most=10).status == 200


def test_a_download_that_hardly_comes(lab: Faulty):
    uri, whole = lab.link()
    lab.inject(rule("slow_retrieval", bytes_per_second=50))
    seen = lab.see(uri, most=3)
    assert whole.startswith(seen.body)
    assert seen.end == "open"
    assert lab.fired() == [1]


# -- who answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shows", "says"),
    [
        ("expired", "certificate has expired"),
        ("not_yet_valid", "certificate is not yet valid"),
        ("other_name", "IP address mismatch"),
        ("unknown_authority", "self-signed certificate in certificate chain"),
        ("self_signed", r"self-signed certificate \("),
    ],
)
def test_a_certificate_that_is_wrong_in_one_way(lab: Faulty, shows: str, says: str):
    lab.inject(rule("certificate", shows=shows, times=2))
    seq = lab.last()
    for _ in range(2):
        with pytest.raises(ssl.SSLCertVerificationError, match=says):
            lab.see("/healthz")
    assert lab.see("/healthz", **CLOSE).status == 200
    assert lab.fired() == [2]
    assert [(one["method"], one["fault"]) for one in lab.operator.get(f"{JOURNAL}?after={seq}")] == [
        ("TLS", "certificate"),
        ("TLS", "certificate"),
    ]


def test_an_operator_gets_in_by_name_to_take_a_wrong_certificate_away(lab: Faulty):
    lab.inject(rule("certificate", shows="expired"))
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{lab.server.url}/healthz", verify=lab.server.ca, timeout=30)
    lab.heal()
    assert requests.get(f"{lab.server.url}/healthz", verify=lab.server.ca, timeout=30).status_code == 200
