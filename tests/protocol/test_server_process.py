# SPDX-License-Identifier: Apache-2.0
"""The server as a process: its certificate, its ends, what survives them, and its sentences about bad input."""

import errno
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests

from server_stub.errors import HostProblem
from server_stub.home import write_private
from tests.protocol.conftest import (
    ARTIFACTS,
    DEVICES,
    MANAGEMENT,
    PASSWORD,
    Device,
    Operator,
    Server,
    command,
    environment,
    make_key,
    run_cli,
)


def test_an_acknowledged_status_survives_a_kill(
    server: Server, operator: Operator, device: Device, write_artifact: Callable[..., Path]
):
    assert operator.upload(write_artifact("kept")).status_code == 201
    deployment = operator.deploy("kept", device.id)
    link = device.poll().json()["artifact"]["source"]["uri"].removeprefix(server.url)
    leftover = server.folder / "artifacts" / "half.incoming"
    leftover.write_bytes(b"half")
    assert device.report(deployment, "installing") == 204
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    ca = Path(server.ca).read_bytes()
    server.start()
    assert Path(server.ca).read_bytes() == ca
    part = operator.part(deployment, device.id)
    assert [one["status"] for one in part["history"]] == ["installing"]
    assert device.report(deployment, "success") == 204
    assert server.call("GET", link).status_code == 200
    assert not leftover.exists()


def test_a_check_in_survives_a_clean_end(server: Server, operator: Operator, device: Device):
    assert device.poll().status_code == 204
    seen = operator.device(device.identity)["check_in_time"]
    assert server.end(signal.SIGTERM) == 0
    server.start()
    assert operator.device(device.identity)["check_in_time"] == seen


def test_a_running_download_does_not_keep_the_server_from_ending(
    server: Server, operator: Operator, device: Device, write_artifact: Callable[..., Path]
):
    assert operator.upload(write_artifact("endless", size=30_000_000)).status_code == 201
    operator.deploy("endless", device.id)
    uri = device.poll().json()["artifact"]["source"]["uri"]
    with requests.get(uri, verify=server.ca, stream=True, timeout=30) as answer:
        assert answer.raw.read(1000)
        assert server.end(signal.SIGTERM) == 0
    server.start()


def test_the_certificate_passes_strict_checks_under_every_name(server: Server):
    port = int(server.url.rpartition(":")[2])
    context = ssl.create_default_context(cafile=server.ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("127.0.0.1", "localhost", "10.0.2.2"):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            certificate = secured.getpeercert()
        assert certificate
        assert ssl.cert_time_to_seconds(str(certificate["notBefore"])) < time.time() - 3600


def test_the_directory_is_private(server: Server):
    for path in (server.folder, server.folder / "tls"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    kept = [] if server.database else [server.folder / "server.sqlite"]
    for path in (*kept, server.folder / "tls" / "ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_options_of_a_laboratory(tmp_path: Path):
    server = Server(tmp_path / "lab", ("--accept-all", "--host", "ota.lab.example", "--listen", "127.0.0.1:0"))
    server.start()
    device = Device(server, {"mac": "1"}, make_key("ed25519"))
    assert device.authenticate().status_code == 200
    assert device.poll().status_code == 204
    other_key = Device(server, device.identity, make_key("ed25519"))
    assert other_key.authenticate().status_code == 401
    context = ssl.create_default_context(cafile=server.ca)
    port = int(server.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="ota.lab.example"),
    ):
        pass
    second = run_cli("start", "--dir", str(server.folder))
    assert second.returncode == 4
    assert "Another server" in second.stderr
    assert server.end(signal.SIGINT) == 130


@pytest.mark.parametrize(("proxy", "scheme"), [((), "https"), (("--proxy", "192.0.2.1"), "http")])
def test_behind_a_proxy_links_and_the_cookie_are_for_its_tls(
    proxy: tuple[str, ...], scheme: str, prepared: Path, tmp_path: Path, write_artifact: Callable[..., Path]
):
    server = Server(shutil.copytree(prepared, tmp_path / "lab"), options=("--plain", "--accept-all", *proxy))
    server.start()
    operator = Operator.logged_in(server)
    device = Device(server, {"mac": "behind"}, make_key("ed25519"))
    assert device.authenticate().status_code == 200
    assert operator.upload(write_artifact("proxied")).status_code == 201
    operator.deploy("proxied", operator.device(device.identity)["id"])
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7", "Host": "ota.example"}
    uri = device.poll(headers=forwarded).json()["artifact"]["source"]["uri"]
    assert uri.startswith(f"{scheme}://ota.example/artifacts/")
    form = {"name": "operator", "password": PASSWORD}
    came = {**forwarded, "Sec-Fetch-Site": "same-origin"}
    answer = server.call("POST", "/ui/login", data=form, headers=came, allow_redirects=False)
    assert ("Secure" in answer.headers["Set-Cookie"]) is (scheme == "https")
    assert server.end(signal.SIGTERM) == 0


def test_a_database_that_is_damaged_while_it_is_used_is_said_to_be_so(prepared: Path, tmp_path: Path):
    server = Server(shutil.copytree(prepared, tmp_path / "lab"))
    file = server.folder / "server.sqlite"
    with sqlite3.connect(file) as kept:
        (page,) = kept.execute("SELECT rootpage FROM sqlite_master WHERE name = 'devices'").fetchone()
        (size,) = kept.execute("PRAGMA page_size").fetchone()
    kept.close()
    with file.open("r+b") as damaged:
        damaged.seek((page - 1) * size)
        damaged.write(b"\xff" * size)
    server.start()
    answer = Operator.logged_in(server).call("GET", DEVICES)
    assert (answer.status_code, answer.json()["error"]) == (503, "The database does not answer: come back later.")
    assert server.end(signal.SIGTERM) == 0


def test_a_command_makes_no_database_of_its_own(prepared: Path, tmp_path: Path):
    folder = shutil.copytree(prepared, tmp_path / "lab")
    (folder / "address.json").write_text('{"url": "http://127.0.0.1:1", "ca": null}')
    (folder / "server.sqlite").unlink()
    ended = run_cli("accept", "--all", "--dir", str(folder))
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
    assert "no database" in ended.stderr
    assert not (folder / "server.sqlite").exists()


def test_so_many_devices_may_wait_to_be_let_in(prepared: Path, tmp_path: Path):
    server = Server(shutil.copytree(prepared, tmp_path / "lab"), options=("--max-waiting", "2"))
    server.start()
    operator = Operator.logged_in(server)
    first, second, third = (Device(server, {"mac": str(number)}, make_key("ed25519")) for number in range(3))
    assert [one.authenticate().status_code for one in (first, second, third)] == [401, 401, 429]
    assert len(operator.get(DEVICES)) == 2
    operator.decide(first.identity, "rejected")
    assert [one.authenticate().status_code for one in (first, second, third)] == [401, 401, 401]
    assert len(operator.get(DEVICES)) == 3
    assert server.end(signal.SIGTERM) == 0


def test_a_user_is_added_while_the_server_runs(server: Server):
    added = server.add_user("second")
    assert (added.returncode, added.stderr) == (0, "")
    login = "/api/management/v1/useradm/auth/login"
    assert server.call("POST", login, auth=("second", PASSWORD)).status_code == 200
    again = server.add_user("second")
    assert again.returncode == 2
    assert "already" in again.stderr


def test_a_taken_port_is_a_problem_of_the_host(server: Server, tmp_path: Path):
    taken = server.url.removeprefix("https://")
    ended = run_cli("start", "--dir", str(tmp_path / "other"), "--listen", taken)
    assert ended.returncode == 4
    assert len(ended.stderr.splitlines()) == 1
    assert "--listen" in ended.stderr
    assert "(Address already in use)" in ended.stderr


def test_a_damaged_table_is_a_problem_of_the_host(prepared: Path, tmp_path: Path):
    folder = shutil.copytree(prepared, tmp_path / "server")
    path = folder / "server.sqlite"
    with closing(sqlite3.connect(path)) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
        damaged = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE tbl_name IN ('settings', 'users') AND rootpage > 0"
        ).fetchall()
    with path.open("r+b") as file:
        for (page,) in damaged:
            file.seek((page - 1) * size)
            file.write(b"\xee" * size)
    (folder / "address.json").write_text(json.dumps({"url": "https://127.0.0.1:1", "ca": None}))
    before = path.read_bytes()
    for words in (
        ("start", "--dir", str(folder)),
        ("accept", "--all", "--dir", str(folder)),
        ("user", "add", "second", "--password-stdin", "--dir", str(folder)),
    ):
        ended = run_cli(*words, stdin=PASSWORD)
        assert ended.returncode == 4, ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        assert "server.sqlite cannot be used as the server's database" in ended.stderr
    assert path.read_bytes() == before


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "server.key"
    write_private(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostProblem, match=r"server\.key cannot be written \(No space left on device\): make room"):
        write_private(path, b"new")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("server.key", b"old")]


def test_a_password_that_is_no_text_is_said_in_every_locale(tmp_path: Path):
    for locale in ("C", "C.UTF-8"):
        words = command("user", "add", "a", "--password-stdin", "--dir", str(tmp_path / "server"))
        told = {**environment(), "LC_ALL": locale}
        ended = subprocess.run(words, input=b"\xff" * 12, capture_output=True, env=told, timeout=60)
        assert ended.returncode == 2, ended.stderr
        assert ended.stderr == b"The password is not valid text: give it as UTF-8 on standard input.\n"


def test_a_damaged_authority_is_said_and_not_replaced(tmp_path: Path):
    folder = tmp_path / "server"
    (folder / "tls").mkdir(parents=True)
    for name in ("ca.pem", "ca.key"):
        (folder / "tls" / name).write_text("-----BEGIN CERTIFICATE-----\nrubbish\n")
    ended = run_cli("start", "--dir", str(folder))
    assert ended.returncode == 4
    assert ended.stderr.count("\n") == 1
    assert "ca.pem or ca.key beside it is damaged: delete both" in ended.stderr
    assert "rubbish" in (folder / "tls" / "ca.pem").read_text()


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        ((), "", 2),
        (("begin",), "", 2),
        (("start",), "", 2),
        (("start", "--dir", "{dir}", "--listen", "8443"), "", 2),
        (("start", "--dir", "{dir}", "--listen", "127.0.0.1:99999"), "", 2),
        (("start", "--dir", "{dir}", "--host", "not a host"), "", 2),
        (("start", "--dir", "{dir}", "--plain", "--proxy", "192.0.2.0/40"), "", 2),
        (("start", "--dir", "{dir}", "--proxy", "192.0.2.1"), "", 2),
        (("start", "--dir", "{file}"), "", 2),
        (("start", "--dir", "/proc/server"), "", 4),
        (("user", "add", "a:b", "--password-stdin", "--dir", "{dir}"), PASSWORD, 2),
        (("user", "add", "a", "--password-stdin", "--dir", "{dir}"), "short", 2),
        (("user", "add", "a", "--dir", "{dir}"), PASSWORD, 2),
    ],
)
def test_bad_input_gets_one_sentence(words: tuple[str, ...], stdin: str, code: int, tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    filled = [word.format(dir=tmp_path / "server", file=file) for word in words]
    ended = run_cli(*filled, stdin=stdin)
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.endswith(".\n")


def test_wrong_paths_and_methods_are_answered_in_json(server: Server):
    for method, path, status in [
        ("GET", "/nothing", 404),
        ("GET", "/api/devices/v1/authentication/auth_requests/", 404),
        ("DELETE", "/api/devices/v1/authentication/auth_requests", 405),
    ]:
        answer = server.call(method, path)
        assert answer.status_code == status
        assert json.loads(answer.text)["error"]


def test_secrets_are_not_in_the_log(prepared: Path, tmp_path: Path, write_artifact: Callable[..., Path]):
    server = Server(shutil.copytree(prepared, tmp_path / "server"))
    log = (tmp_path / "log").open("w+")
    server.start(stderr=log)
    operator = Operator.logged_in(server)
    device = Device.preauthorized(operator)
    assert operator.upload(write_artifact("new")).status_code == 201
    operator.deploy("new", device.id)
    link = device.poll().json()["artifact"]["source"]["uri"].removeprefix(server.url)
    assert server.call("GET", link).status_code == 200
    assert (
        server.call("POST", f"{MANAGEMENT}/useradm/auth/login", auth=("operator", "guessed wrong")).status_code == 401
    )
    assert server.end(signal.SIGTERM) == 0
    log.seek(0)
    said = log.read()
    log.close()
    lines = [json.loads(line) for line in said.splitlines()]
    assert {line.get("path") for line in lines} >= {
        f"{MANAGEMENT}/useradm/auth/login",
        ARTIFACTS,
        link.partition("?")[0],
    }
    for secret in (PASSWORD, "guessed wrong", operator.token, device.token, link.partition("token=")[2], "Basic "):
        assert secret not in said
