# SPDX-License-Identifier: Apache-2.0
"""The module `docker` against a real container engine, started here, with containers that run."""

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import docker
import pytest
from docker.models.containers import Container

from tests.unit.module_client import Client
from tests.unit.module_disk import PowerCut
from updater.modules.containers import Container as Wanted
from updater.modules.docker import module
from updater.modules.durable import Disk
from updater.modules.engine import Engine, connect

BUSYBOX = Path("/bin/busybox")  # static, from Debian's busybox-static
SOURCE = "127.0.0.1:1"  # nobody answers there
# Ends at once when it is asked to: the first process of a container has no default for SIGTERM.
STAYS = ["/busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do /busybox sleep 1 & wait $!; done"]


def tree(mark: str) -> bytes:
    """The tar of a root file system: a shell, and a file that tells one image from another."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        tar.add(BUSYBOX.resolve(), "busybox")
        told = tarfile.TarInfo("mark")
        told.size = len(mark)
        tar.addfile(told, io.BytesIO(mark.encode()))
    return raw.getvalue()


@dataclass
class Daemon:
    """One dockerd with everything it has in one directory."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/socket"

    def start(self) -> None:
        places = ("--data-root", "data", "--exec-root", "exec", "--pidfile", "pid")
        words = [word if word.startswith("--") else str(self.folder / word) for word in places]
        options = ["--storage-driver", "vfs", "--iptables=false", "--bridge=none", "-H", self.host]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["dockerd", *words, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        for _ in range(600):
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            with socket.socket(socket.AF_UNIX) as line:
                if line.connect_ex(str(self.folder / "socket")) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text()[-3000:])

    def end(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    if shutil.which("dockerd") is None:
        pytest.skip("dockerd is not installed (Debian's package docker.io)")
    # Not pytest's own directory: the path of a socket has to be short.
    folder = Path(tempfile.mkdtemp(prefix="bootproof-docker-"))
    daemon = Daemon(folder)
    daemon.start()
    yield daemon
    daemon.end()
    shutil.rmtree(folder)


@pytest.fixture
def engine(daemon: Daemon) -> Iterator[docker.DockerClient]:
    """Empty before and after."""
    client = docker.DockerClient(base_url=daemon.host, timeout=120)
    yield client
    for container in client.containers.list(all=True):
        container.remove(force=True)
    for image in client.images.list():
        client.images.remove(str(image.id), force=True)
    client.close()


@pytest.fixture
def new_client(daemon: Daemon, tmp_path: Path) -> Callable[..., Client]:
    def make(name: str = "work") -> Client:
        return Client("docker", tmp_path / name, {"DOCKER_HOST": daemon.host})

    return make


def make_image(engine: docker.DockerClient, name: str, mark: str) -> str:
    repository, _, tag = name.partition(":")
    engine.api.import_image_from_data(tree(mark), repository=repository, tag=tag)
    return str(engine.images.get(name).id)


def saved(engine: docker.DockerClient, name: str, mark: str) -> bytes:
    """An archive of `docker save` with an image that the engine does not have any more."""
    kept = {image.id: image.tags for image in engine.images.list()}
    made = make_image(engine, name, mark)
    raw = b"".join(engine.images.get(name).save(named=True))
    engine.images.remove(name)
    for image, names in kept.items():  # the name may have been taken from one
        if name in names:
            engine.images.get(str(image)).tag(*name.split(":"))
    assert made not in {image.id for image in engine.images.list()}
    return raw


def run_former(engine: docker.DockerClient, name: str = "app", image: str = "app:1") -> Container:
    """A container with a policy of its own and something in its layer."""
    container = engine.containers.run(
        image, STAYS, name=name, network_mode="none", detach=True, restart_policy=cast(Any, {"Name": "unless-stopped"})
    )
    assert container.exec_run(["/busybox", "sh", "-c", "echo mine > /kept"])[0] == 0
    return container


def meta(image: str, **more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "app", "image": image, "command": STAYS, "network": "none", **more}]}


def prints(container: Container, path: str) -> str:
    code, said = container.exec_run(["/busybox", "cat", path])
    assert code == 0, said
    assert isinstance(said, bytes)
    return said.decode().strip()


def state(engine: docker.DockerClient) -> tuple[Any, ...]:
    """All that a rollback has to restore."""
    return (
        sorted(
            (
                one.name,
                one.id,
                one.status,
                one.image.id if one.image else "",
                one.attrs["HostConfig"]["RestartPolicy"]["Name"],
            )
            for one in engine.containers.list(all=True)
        ),
        sorted((image.id, sorted(image.tags)) for image in engine.images.list()),
    )


# -- what succeeds -----------------------------------------------------------------------------------------------------


def test_an_image_of_the_payload_runs_in_place_of_the_former_container(
    engine: docker.DockerClient, new_client: Callable[..., Client]
) -> None:
    make_image(engine, "app:1", "one")
    former = run_former(engine)
    other = run_former(engine, "other")
    client = new_client().bring({"app.tar": saved(engine, "app:2", "two")}, meta("app:2", environment={"A": "b c"}))
    assert client.update() == "success", client.said
    now = engine.containers.get("app")
    assert now.id != former.id
    assert (now.status, prints(now, "/mark")) == ("running", "two")
    assert "A=b c" in now.attrs["Config"]["Env"]
    assert now.attrs["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert {one.name for one in engine.containers.list(all=True)} == {"app", "other"}
    assert engine.containers.get("other").id == other.id, "what the artifact does not speak of stays"
    assert {tag for image in engine.images.list() for tag in image.tags} == {"app:1", "app:2"}, "app:1 is in use"


def test_the_next_artifact_replaces_the_containers_of_this_one_and_their_images(
    engine: docker.DockerClient, new_client: Callable[..., Client]
) -> None:
    one = {"images": [{"file": "one.tar", "import": "one"}], **meta("one")}
    two = meta("two:1") | {"images": [{"file": "two.tar", "import": "two:1"}]}
    two["containers"][0]["name"] = "another"
    assert new_client("first").bring({"one.tar": tree("one")}, one).update() == "success"
    assert prints(engine.containers.get("app"), "/mark") == "one"
    assert new_client("second").bring({"two.tar": tree("two")}, two).update() == "success"
    assert [one.name for one in engine.containers.list(all=True)] == ["another"]
    assert [image.tags for image in engine.images.list()] == [["two:1"]]
    assert new_client("none").bring({}, {"containers": []}).update() == "success"
    assert engine.containers.list(all=True) == []


def test_run_args_are_options_of_the_container(
    engine: docker.DockerClient, new_client: Callable[..., Client], tmp_path: Path
) -> None:
    make_image(engine, "app:1", "one")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("from outside")
    said = f"-v {tmp_path}/data:/data:ro -e 'A=b c' --restart=on-failure:3"
    client = new_client().bring({}, meta("app:1", run_args=said, restart=""))
    assert client.update() == "success", client.said
    now = engine.containers.get("app")
    assert prints(now, "/data/file") == "from outside"
    host = now.attrs["HostConfig"]
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert "A=b c" in now.attrs["Config"]["Env"]


def test_what_a_container_may_do(daemon: Daemon, engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made, not started: not every machine that tests may give all of it."""
    monkeypatch.setenv("DOCKER_HOST", daemon.host)
    make_image(engine, "app:1", "one")
    ports = {"80/tcp": [8080, ("127.0.0.1", 8081)], "53/udp": None}
    devices = ("/dev/null:/dev/x:r",)
    wanted = Wanted("app:1", "", ("/x",), privileged=True, devices=devices, ports=ports, network="none", tty=True)
    with closing(connect()) as ours:
        made = engine.containers.get(ours.create(wanted, "an update"))
    host = made.attrs["HostConfig"]
    assert host["Privileged"] is True
    assert host["Devices"] == [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]
    assert [one["HostPort"] for one in host["PortBindings"]["80/tcp"]] == ["8080", "8081"]
    assert host["PortBindings"]["80/tcp"][1]["HostIp"] == "127.0.0.1"
    assert (host["NetworkMode"], made.attrs["Config"]["Tty"]) == ("none", True)


# -- what goes back ----------------------------------------------------------------------------------------------------


@pytest.fixture
def moved_name(engine: docker.DockerClient, new_client: Callable[..., Client]) -> Client:
    """An artifact whose image takes the name from the image of the former container."""
    make_image(engine, "app:1", "one")
    run_former(engine)
    return new_client().bring({"app.tar": saved(engine, "app:1", "two")}, meta("app:1"))


def test_a_rollback_brings_back_the_very_same_container(engine: docker.DockerClient, moved_name: Client) -> None:
    before = state(engine)
    assert moved_name.call("ArtifactInstall") == 0, moved_name.said
    assert prints(engine.containers.get("app"), "/mark") == "two"
    assert state(engine) != before
    assert moved_name.call("ArtifactCommit") == 0
    moved_name.recover()
    assert state(engine) == before
    assert prints(engine.containers.get("app"), "/kept") == "mine"
    moved_name.recover()
    assert state(engine) == before, "again is the same"


def test_what_somebody_else_has_brought_meanwhile_stays(engine: docker.DockerClient, moved_name: Client) -> None:
    assert moved_name.call("ArtifactInstall") == 0, moved_name.said
    make_image(engine, "other:1", "mine")
    moved_name.recover()
    assert engine.images.get("other:1")
    assert prints(engine.containers.get("app"), "/kept") == "mine"


def test_what_cannot_start_is_rolled_back(engine: docker.DockerClient, new_client: Callable[..., Client]) -> None:
    make_image(engine, "app:1", "one")
    run_former(engine)
    before = state(engine)
    client = new_client().bring({}, meta("app:1", command="/no/such/program"))
    assert client.update() == "rolled back"
    assert "The container engine refused:" in client.said
    assert client.said.count("\n") == 1
    assert state(engine) == before


def test_what_does_not_stay_up_is_not_committed(engine: docker.DockerClient, new_client: Callable[..., Client]) -> None:
    make_image(engine, "app:1", "one")
    run_former(engine)
    before = state(engine)
    client = new_client().bring({}, meta("app:1", command=["/busybox", "sh", "-c", "exit 7"], restart="no"))
    assert client.call("ArtifactInstall") == 0, client.said
    engine.containers.get("app").wait(timeout=60)
    assert client.call("ArtifactCommit") == 1
    assert client.said == "The container app does not stay up: it ended with exit code 7.\n"
    client.recover()
    assert state(engine) == before


def test_a_container_that_removes_itself_is_not_stopped(
    engine: docker.DockerClient, new_client: Callable[..., Client]
) -> None:
    make_image(engine, "app:1", "one")
    engine.containers.run("app:1", STAYS, name="app", network_mode="none", detach=True, auto_remove=True)
    before = state(engine)
    client = new_client().bring({}, meta("app:1"))
    assert client.update() == "rolled back"
    assert client.said == "The container app was started with --rm, so it could not be brought back.\n"
    assert state(engine) == before


def test_an_archive_that_is_none(engine: docker.DockerClient, new_client: Callable[..., Client]) -> None:
    make_image(engine, "app:1", "one")
    run_former(engine)
    before = state(engine)
    for content in (b"no archive", b"", tree("x")):
        client = new_client().bring({"app.tar": content}, meta("app:2"))
        assert client.update() == "rolled back"
        assert client.said.count("\n") == 1
        assert state(engine) == before


class Cut(Engine):
    """Before call number `at` the power fails."""

    def __init__(self, engine: Engine, at: int) -> None:
        super().__init__(engine._client)
        self._left = at

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "close":
            self._left -= 1
            if self._left < 0:
                raise PowerCut
        return super().__getattribute__(name)


def test_a_cut_before_any_call_to_the_engine(
    daemon: Daemon, engine: docker.DockerClient, moved_name: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", daemon.host)
    before = state(engine)
    cuts = 0
    while True:
        cut = module(Disk(), lambda cuts=cuts: Cut(connect(), cuts))  # type: ignore[misc]
        try:
            assert cut.run(["ArtifactInstall", str(moved_name.work)]) == 0
            break
        except PowerCut:
            cuts += 1
        again = module(Disk(), lambda cuts=cuts: Cut(connect(), cuts))  # type: ignore[misc]
        try:
            again.run(["ArtifactRollback", str(moved_name.work)])
        except PowerCut:
            assert module(Disk(), connect).run(["ArtifactRollback", str(moved_name.work)]) == 0
        assert module(Disk(), connect).run(["Cleanup", str(moved_name.work)]) == 0
        assert state(engine) == before, f"cut before call {cuts - 1}"
    assert cuts > 10


def test_the_engine_does_not_start_the_former_container_after_a_loss_of_power(
    daemon: Daemon, engine: docker.DockerClient, moved_name: Client
) -> None:
    before = state(engine)
    assert moved_name.call("ArtifactInstall") == 0
    new = engine.containers.get("app").id
    daemon.end()
    daemon.start()
    assert [one.id for one in engine.containers.list()] == [new]
    daemon.end()
    with moved_name.start("ArtifactRollback") as recovering:  # the client is up before the engine is
        daemon.start()
        assert recovering.wait(120) == 0
    moved_name.recover()
    assert state(engine) == before


# -- Mender's own form -------------------------------------------------------------------------------------------------


class Registry(BaseHTTPRequestHandler):
    """Gives one image away, to whatever name."""

    blobs: dict[str, bytes]
    manifest: bytes

    def do_GET(self) -> None:
        kind, _, what = self.path.rpartition("/")
        content = b"{}"
        if kind.endswith("/manifests"):
            content = self.manifest
        elif kind.endswith("/blobs"):
            content = self.blobs[what]
        self.send_response(200)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", json.loads(self.manifest)["mediaType"])
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Content-Digest", digest(content))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.fixture
def registry() -> Iterator[tuple[str, str]]:
    """Its address and the digest of its image, whose own command stays."""
    kind = "application/vnd.docker.{}.v{}+json"
    layer, packed = tree("pulled"), gzip.compress(tree("pulled"))
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = json.dumps({
        "architecture": architecture, "os": "linux", "config": {"Cmd": STAYS},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
    }).encode()  # fmt: skip
    parts = ((config, "container.image", 1), (packed, "image.rootfs.diff.tar.gzip", 0))
    told = [
        {
            "mediaType": kind.format(name, 1).removesuffix("" if number else ".v1+json"),
            "size": len(raw),
            "digest": digest(raw),
        }
        for raw, name, number in parts
    ]
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": kind.format("distribution.manifest", 2), "config": told[0], "layers": told[1:],
    }).encode()  # fmt: skip
    handler = type("Here", (Registry,), {"blobs": {digest(raw): raw for raw, *_ in parts}, "manifest": manifest})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", digest(manifest)
        server.shutdown()
        thread.join()


def test_listed_images_are_pulled_and_nothing_else_runs(
    engine: docker.DockerClient, new_client: Callable[..., Client], registry: tuple[str, str]
) -> None:
    make_image(engine, "app:1", "one")
    former = run_former(engine)
    before = state(engine)
    address, number = registry
    listed = {"containers": [f"{address}/some/app@{number}", f"{address}/some/web:3"], "run_args": "--network none"}
    refused = new_client("refused").bring({}, listed)
    assert refused.update(refused=True) == "rolled back", refused.said
    assert state(engine) == before
    assert new_client().bring({}, listed).update() == "success"
    running = engine.containers.list()
    assert [prints(one, "/mark") for one in running] == ["pulled", "pulled"]
    assert all(one.attrs["HostConfig"]["RestartPolicy"]["Name"] == "no" for one in running)
    stopped = engine.containers.get("app")
    assert (stopped.id, stopped.status) == (former.id, "exited"), "not ours to remove, as with Mender's module"


def test_what_cannot_be_pulled(engine: docker.DockerClient, new_client: Callable[..., Client]) -> None:
    make_image(engine, "app:1", "one")
    run_former(engine)
    before = state(engine)
    client = new_client().bring({}, {"containers": [f"{SOURCE}/app:1"]})
    assert client.update() == "rolled back"
    assert client.said.startswith("The container engine refused:")
    assert state(engine) == before


def test_without_an_engine(tmp_path: Path) -> None:
    client = Client("docker", tmp_path / "work", {"DOCKER_HOST": f"unix://{tmp_path}/nobody"}).bring({}, meta("app:1"))
    assert client.call("Download") == 1
    assert client.said.startswith("No container engine answers: ")
    assert client.said.count("\n") == 1
    client.recover()
