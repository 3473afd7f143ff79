# SPDX-License-Identifier: Apache-2.0
"""What lies below the server: migrations from the first version on, an object store, servers that share a database."""

import asyncio
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, text
from sqlalchemy.exc import IntegrityError, OperationalError

from server_stub.api.artifacts import upload
from server_stub.domain.deployments import Author, Status
from server_stub.errors import Busy, HostProblem
from server_stub.services import Policy
from server_stub.storage import entries, migrate, schema
from server_stub.storage.database import Database, read_url, sqlite_at
from server_stub.storage.store import Directory
from tests.loops import run
from tests.protocol.conftest import (
    DEPLOYMENTS,
    MANAGEMENT,
    Device,
    Operator,
    Server,
    make_key,
    run_cli,
)
from tests.protocol.postgresql import Cluster, cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        made = Database(sqlite_at(tmp_path))
    else:
        cluster: Cluster = request.getfixturevalue("databases")
        made = Database(read_url(cluster.create(uuid.uuid4().hex)))
    yield made
    made.close()


def test_the_migrations_make_what_the_code_expects(database: Database):
    with database.reading() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == schema.REVISION


def test_the_latest_migration_is_the_one_the_code_names():
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.REVISION


def test_a_statement_that_fails_tells_no_values(database: Database):
    statement = text("INSERT INTO settings (key, value) VALUES ('twice', :value)")
    with pytest.raises(IntegrityError) as told, database.writing() as connection:
        connection.execute(statement, [{"value": "hash of a password"}] * 2)
    assert "hash of a password" not in str(told.value)


def test_a_database_of_a_later_server_is_not_touched(database: Database):
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        url = connection.engine.url
    with pytest.raises(HostProblem, match="later server"):
        Database(url)


def test_what_a_device_repeats_for_ever_is_not_written_for_ever(database: Database):
    order = {"id": "o", "name": "n", "artifact_name": "a", "force": False, "created": "", "target": {}, "plan": {}}
    with database.writing() as connection:
        connection.execute(insert(schema.deployments).values(order))
        row = {"deployment_id": "o", "device_id": "d", "status": "installing", "created": ""}
        connection.execute(insert(schema.entries).values(row))
        part = entries.by_key(connection, "o", "d")
        assert part is not None
        for number in range(entries.MOST_RECORDED + 2):
            entries.record(connection, part, Status.INSTALLING, str(number), "", Author.DEVICE)
        kept = entries.history_of(connection, [part])["o", "d"]
    assert [one.substate for one in kept] == [str(number) for number in range(entries.MOST_RECORDED)]


def test_a_server_ends_when_it_is_told_to_though_its_database_is_gone(tmp_path: Path):
    with cluster() as running:
        server = Server(tmp_path / "lab", ("--accept-all",), database=running.create(uuid.uuid4().hex))
        with (tmp_path / "log").open("w") as log:
            server.start(stderr=log)
        device = Device(server, {"mac": "1"}, make_key("ed25519"))
        assert device.authenticate().status_code == 200
        assert device.poll().status_code == 204
    assert server.end(signal.SIGTERM) == 0
    (said,) = [line for line in (tmp_path / "log").read_text().splitlines() if json.loads(line)["level"] == "ERROR"]
    assert "check-ins" in json.loads(said)["message"]


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A directory as the first server left it: a user, a device at work, an artifact, a key in a file."""
    folder = tmp_path / "first"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "secret").write_bytes(b"s" * 64)
    engine = create_engine(sqlite_at(folder))
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    rows = """
        DROP TABLE alembic_version;
        PRAGMA user_version = 1;
        INSERT INTO devices ("order", id, identity, status, created_ts, updated_ts)
            VALUES (1, 'd1', '{"mac":"1","slots":["a","b"],"rev":2,"more":{"x":1}}', 'accepted', '2025', '2025');
        INSERT INTO attributes VALUES ('d1', 'device_type', '"qemu-board"'), ('d1', 'nets', '["x","y"]'),
            ('d1', 'none', '[]'), ('d1', 'free', '7');
        INSERT INTO artifacts VALUES ('a1', 'new', 'old one', 10, '{"name": "new", "device_types": ["qemu-board"],
            "payload_type": "rootfs-image", "provides": {}, "depends": {"device_type": ["qemu-board"]},
            "clears": null, "signed": true, "files": [{"name": "f", "size": 3}]}', '2025-01-01T00:00:00.000000Z');
        INSERT INTO artifact_types VALUES ('a1', 'qemu-board', 'new', '{}');
        INSERT INTO deployments ("order", id, name, artifact_name, force, created)
            VALUES (1, 'o1', 'n', 'new', 0, '2025-01-01T00:00:00.000000Z');
        INSERT INTO entries (deployment_id, device_id, status, created, artifact_id)
            VALUES ('o1', 'd1', 'installing', '2025', 'a1'), ('o1', 'd2', 'success', '2025', 'a1');
        INSERT INTO history VALUES (1, 'o1', 'd1', 'installing', NULL, '2025', 'device');
    """
    with sqlite3.connect(folder / "server.sqlite") as kept:
        kept.executescript(rows)
    (folder / "artifacts" / "a1.mender").write_bytes(b"0123456789")
    return folder


def test_what_the_first_server_kept_is_still_there(first: Path):
    server = Server(first)
    assert server.add_user("operator").returncode == 0
    server.start()
    assert server.secret() == b"s" * 64
    operator = Operator.logged_in(server)
    shown = operator.get(f"{MANAGEMENT}/inventory/devices/d1")["attributes"]
    kept = {(one["scope"], one["name"]): one["value"] for one in shown}
    assert kept["inventory", "nets"] == ["x", "y"]
    assert kept["inventory", "none"] == []
    assert kept["inventory", "free"] == 7
    assert kept["identity", "mac"] == "1"
    assert kept["identity", "slots"] == ["a", "b"]
    assert kept["identity", "rev"] == 2
    assert kept["identity", "more"] == '{"x":1}'
    deployment = operator.get(f"{DEPLOYMENTS}/o1")
    assert (deployment["status"], deployment["device_count"]) == ("inprogress", 2)
    assert deployment["statistics"]["status"]["installing"] == 1
    assert deployment["phases"][0]["pause"] is False
    artifact = operator.get(f"{MANAGEMENT}/deployments/artifacts/a1")
    assert (artifact["signed"], artifact["verified_by"]) == (True, None)
    assert server.end(signal.SIGTERM) == 0
    with sqlite3.connect(first / "server.sqlite") as database:
        assert "alembic_version" in {row[0] for row in database.execute("SELECT name FROM sqlite_master")}


@contextmanager
def object_store(folder: Path) -> Iterator[dict[str, str]]:
    """A store that speaks S3, over HTTP on loopback; the environment by which a server finds it."""
    server = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    log = folder / "moto.log"
    with log.open("wb") as out, subprocess.Popen(server, stdout=out, stderr=out) as process:
        try:
            until = time.monotonic() + 60
            while "Running on" not in (said := log.read_text()):
                assert process.poll() is None, said
                assert time.monotonic() < until, said
                time.sleep(0.1)
            url = said.partition("Running on ")[2].split()[0]
            assert requests.put(f"{url}/artifacts", timeout=30).status_code == 200
            yield {
                "AWS_ENDPOINT": url,
                "AWS_ALLOW_HTTP": "true",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-1",
            }
        finally:
            process.terminate()


def objects(found: dict[str, str]) -> int:
    return requests.get(f"{found['AWS_ENDPOINT']}/artifacts", timeout=30).text.count("<Key>")


def test_artifacts_in_an_object_store(
    prepared: Path, tmp_path: Path, write_artifact: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    with object_store(tmp_path) as found:
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        server = Server(shutil.copytree(prepared, tmp_path / "server"), ("--artifacts", "s3://artifacts"))
        server.start()
        operator = Operator.logged_in(server)
        # Large enough to go there in several parts.
        path = write_artifact("far", size=25_000_000)
        uploaded = operator.upload(path)
        assert uploaded.status_code == 201, uploaded.text
        assert objects(found) == 1
        damaged = tmp_path / "damaged.mender"
        damaged.write_bytes(path.read_bytes()[:-400_000])
        assert operator.upload(damaged).status_code == 400
        assert operator.upload(path).status_code == 422
        assert objects(found) == 1
        device = Device.preauthorized(operator)
        deployment = operator.deploy("far", device.id)
        link = device.poll().json()["artifact"]["source"]["uri"].removeprefix(server.url)
        content = path.read_bytes()
        assert server.call("GET", link).content == content
        part = server.call("GET", link, headers={"Range": "bytes=20000000-20000999"})
        assert (part.status_code, part.content) == (206, content[20_000_000:20_001_000])
        assert device.report(deployment, "success") == 204
        assert operator.call("DELETE", uploaded.headers["Location"]).status_code == 204
        assert objects(found) == 0
        assert list((server.folder / "artifacts").iterdir()) == []
        assert server.end(signal.SIGTERM) == 0
    wrong = run_cli("start", "--dir", str(tmp_path / "other"), "--artifacts", "nowhere://x")
    assert wrong.returncode == 2
    assert "--artifacts" in wrong.stderr


def test_a_sweep_leaves_what_has_got_its_row_meanwhile(tmp_path: Path):
    for name in ("left", "ended"):
        (tmp_path / f"{name}.mender").touch()
    rows: set[str] = set()

    def known() -> set[str]:
        found = set(rows)
        rows.add("ended")
        return found

    Directory(tmp_path).sweep(known)
    assert [path.stem for path in tmp_path.iterdir()] == ["ended"]


@pytest.mark.parametrize(
    ("problem", "files"), [(asyncio.CancelledError(), 1), (OperationalError("COMMIT", {}, OSError()), 1), (Busy(), 0)]
)
def test_a_file_whose_row_may_be_there_stays(
    problem: BaseException, files: int, tmp_path: Path, write_artifact: Callable[..., Path]
):
    body = requests.Request("POST", "http://x", files={"artifact": write_artifact("lost").read_bytes()}).prepare()

    async def write(_job: object) -> None:
        raise problem

    async def stream() -> AsyncIterator[bytes]:
        yield body.body  # type: ignore[misc]

    request: Any = SimpleNamespace(headers={"content-type": body.headers["Content-Type"]}, stream=stream)
    services: Any = SimpleNamespace(store=Directory(tmp_path), policy=Policy(), write=write)
    with pytest.raises(type(problem)):
        run(upload(request, services, cast("Any", None)))
    assert len(list(tmp_path.iterdir())) == files


@pytest.fixture
def pair(databases: Cluster, prepared_database: str, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Two servers on one database and one directory of artifacts."""
    url = databases.create(uuid.uuid4().hex, prepared_database)
    servers = (Server(tmp_path / "lab", database=url), Server(tmp_path / "lab", database=url))
    for one in servers:
        one.start()
    yield servers
    for one in servers:
        assert one.end(signal.SIGTERM) == 0


def wait_for(look: Callable[[], Any]) -> None:
    until = time.monotonic() + 30
    while not look():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_two_servers_are_one(pair: tuple[Server, Server], write_artifact: Callable[..., Path]):
    here, there = pair
    operator = Operator.logged_in(here)
    beyond = Operator(there, operator.token)
    device = Device.preauthorized(operator)
    elsewhere = Device(there, device.identity, device.key, device.token, device.id)
    assert beyond.upload(write_artifact("new")).status_code == 201
    # The one remembers that there is nothing; what is ordered at the other wakes it.
    assert [elsewhere.poll().status_code for _ in range(3)] == [204] * 3
    deployment = operator.deploy("new", device.id)
    wait_for(lambda: elsewhere.poll().status_code == 200)
    assert device.poll().status_code == 200
    assert elsewhere.report(deployment, "installing") == 204
    assert operator.part(deployment, device.id)["status"] == "installing"
    # A key that is rejected at the one counts no more at the other, also where its token is remembered.
    assert elsewhere.report(deployment, "success") == 204
    operator.decide(device.identity, "rejected")
    assert device.poll().status_code == 401
    wait_for(lambda: elsewhere.poll().status_code == 401)


def test_two_servers_count_together(pair: tuple[Server, Server], write_artifact: Callable[..., Path]):
    """Devices report to both at once; the phase lets no more begin than it should, and the tallies are right."""
    token = Operator.logged_in(pair[0]).token
    operators = [Operator(one, token) for one in pair]
    assert operators[0].upload(write_artifact("new")).status_code == 201
    fleet = [Device.preauthorized(operators[number % 2]) for number in range(16)]
    deployment = operators[0].deploy("new", *(one.id for one in fleet), phases=[{"device_count": 5}, {"pause": True}])

    def ask(device: Device) -> int:
        # Connections are not shared between threads.
        headers = {"Authorization": f"Bearer {device.token}"}
        url = f"{device.server.url}/api/devices/v1/deployments/device/deployments/next"
        asked = {"device_type": "qemu-board", "artifact_name": "old"}
        return requests.post(url, json=asked, headers=headers, verify=device.server.ca, timeout=30).status_code

    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(ask, fleet))
    assert (codes.count(200), codes.count(204)) == (5, 11)
    begun = [device for device, code in zip(fleet, codes, strict=True) if code == 200]
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda device: device.report(deployment, "success"), begun))
    counts = operators[1].get(f"{DEPLOYMENTS}/{deployment}/statistics")
    assert (counts["success"], counts["pending"]) == (5, 11)


def test_a_database_that_goes_away_and_comes_back(databases: Cluster, tmp_path: Path):
    server = Server(tmp_path / "lab", database=databases.create(uuid.uuid4().hex))
    server.start()
    try:
        databases.stop("immediate")
        answer = server.call("GET", "/healthz")
        assert (answer.status_code, answer.json()["error"]) == (503, "The database does not answer: come back later.")
        device = Device(server, {"mac": "1"}, make_key("ed25519"))
        assert device.authenticate().status_code == 503
    finally:
        databases.start()
    wait_for(lambda: server.call("GET", "/healthz").status_code == 200)
    assert device.authenticate().status_code == 401
    assert server.end(signal.SIGTERM) == 0


def test_a_database_that_cannot_be_used(tmp_path: Path):
    for url, code in [("mysql://x/y", 2), ("no url", 2), ("postgresql://postgres@127.0.0.1:1/x", 4)]:
        done = run_cli("start", "--dir", str(tmp_path / "lab"), "--database", url)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert "Traceback" not in done.stderr
