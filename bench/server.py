# SPDX-License-Identifier: Apache-2.0
"""What the update server carries, beside nginx on the same machine in the same run. Everything goes over TLS.

Polls a second are compared with nginx's fixed 204 under the same wrk; downloads with nginx's of the same file. Then
simulated devices (bench/load/fleet.py) poll at an interval, come back all at once as after an outage, and go through
whole deployments. Memory is looked at while the fleet grows. Prints one JSON object.

    python bench/server.py [--devices 10000] [--largest 100000] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert

from server_stub.clock import now, stamp
from server_stub.domain import links, tokens
from server_stub.domain.devices import read_identity
from server_stub.storage import schema, settings
from server_stub.storage.database import Database, sqlite_at
from updater.artifact import Compression, write_module_artifact

CONNECTIONS = 50
# Devices that poll as quickly as they can be answered.
POLLING = 5_000
# Devices that go through a whole deployment, of all that have a part in it.
AT_WORK = 2_000
ROUNDS = 3
FILE_BYTES = 1_000_000_000
NGINX = """
user root; worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; keepalive_requests 100000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl; ssl_certificate {tls}/server.pem; ssl_certificate_key {tls}/server.key;
        root {files}; location = /nothing {{ return 204; }}
    }}
}}
"""


class Laboratory:
    """A server with devices that it has accepted, in a directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "server"
        self._start()
        self.devices: list[dict[str, str]] = []
        # One key for all: what is measured does not depend on whose it is.
        key = Ed25519PrivateKey.generate()
        pem = serialization.Encoding.PEM
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.key = secret.decode()
        shown = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        self._shown = shown.decode()

    def _start(self) -> None:
        words = ("start", "--dir", str(self.folder), "--json", "--log-level", "warning")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server_stub", *words], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.url, self.ca = told["url"], told["ca"]

    def restart(self) -> None:
        """With all that it remembers gone, as after an outage."""
        self.close()
        self._start()

    def grow(self, number: int) -> None:
        """Have so many accepted devices; written to the database, since introductions are not what is measured."""
        database, moment = Database(sqlite_at(self.folder)), now()
        names = [f"{one:08d}" for one in range(len(self.devices), number)]
        common = {"status": "accepted", "created_ts": stamp(moment), "updated_ts": stamp(moment)}
        devices = [{"id": one, "identity": read_identity({"mac": one}), **common} for one in names]
        sets = [
            {"id": f"set-{one}", "device_id": one, "pubkey": self._shown, "status": "accepted", "ts": stamp(moment)}
            for one in names
        ]
        with database.writing() as connection:
            secret = settings.secret(connection)
            if names:
                connection.execute(insert(schema.devices), devices)
                connection.execute(insert(schema.auth_sets), sets)
        database.close()
        self.devices += [
            {"id": one, "mac": one, "token": tokens.for_device(secret, one, f"set-{one}", moment)} for one in names
        ]

    def memory(self) -> float:
        """MiB that the server's process holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)

    def processor(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def command(self, *words: str) -> Any:
        run = [sys.executable, "-m", "server_stub", *words, "--dir", str(self.folder), "--json"]
        return json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)

    def fleet(self, what: str, **more: Any) -> dict[str, Any]:
        told = {"url": self.url, "ca": self.ca, "key": self.key, "devices": self.devices}
        order = {**told, "what": what, **more}
        script = [sys.executable, str(Path(__file__).with_name("load") / "fleet.py")]
        before = self.processor()
        done = subprocess.run(script, input=json.dumps(order), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return {**found, "server_cpu_s": round(self.processor() - before, 2), "memory_mib": self.memory()}

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@contextmanager
def nginx(folder: Path, tls: Path, files: Path, port: int) -> Iterator[str]:
    folder.mkdir()
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, tls=tls, files=files, port=port))
    with subprocess.Popen(["nginx", "-c", str(configuration)], stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(1)
            yield f"https://127.0.0.1:{port}"
        finally:
            process.terminate()


def wrk(url: str, script: Path, seconds: int) -> float:
    """Answers a second."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in said, said
    return float(said.partition("Requests/sec:")[2].split()[0])


def polling_script(folder: Path, lab: Laboratory) -> Path:
    """One device after the other: so many that none asks more often than it may, so few that wrk itself stays quick."""
    path = folder / "polls.lua"
    held = ",".join(f'"Bearer {one["token"]}"' for one in lab.devices[:POLLING])
    body = '{"device_type": "bench", "artifact_name": "old"}'
    path.write_text(
        f"local held, i = {{{held}}}, 0\n"
        "local made = {}\n"
        "init = function()\n"
        "  for n, token in ipairs(held) do\n"
        "    made[n] = wrk.format('POST', '/api/devices/v1/deployments/device/deployments/next',\n"
        f"      {{['Authorization'] = token, ['Content-Type'] = 'application/json'}}, '{body}')\n"
        "  end\nend\n"
        "request = function() i = i % #made + 1; return made[i] end\n"
    )
    return path


def polls(folder: Path, lab: Laboratory, other: str, seconds: int) -> dict[str, float]:
    ours, theirs = polling_script(folder, lab), folder / "nothing.lua"
    theirs.write_text('request = function() return wrk.format("GET", "/nothing") end\n')
    wrk(lab.url, ours, 2)
    rounds = [(wrk(lab.url, ours, seconds), wrk(other, theirs, seconds)) for _ in range(ROUNDS)]
    mine, nothing = max(one for one, _ in rounds), max(one for _, one in rounds)
    return {"server": round(mine), "nginx": round(nothing), "ratio": round(mine / nothing, 3)}


def downloads(folder: Path, lab: Laboratory, other: str) -> dict[str, float]:
    """Bytes a second of one large artifact, the best of some rounds each."""
    content, artifact = folder / "content", folder / "files" / "large.mender"
    with content.open("wb") as out:
        for _ in range(FILE_BYTES >> 20):
            out.write(os.urandom(1 << 20))
    with artifact.open("wb") as file:
        options: dict[str, Any] = {"name": "large", "device_types": ["bench"], "compression": Compression.NONE}
        write_module_artifact(file, payload_type="single-file", files=[content], **options)
    content.unlink()
    began = time.perf_counter()
    found = lab.command("upload", str(artifact))
    uploading = artifact.stat().st_size / (time.perf_counter() - began)
    link = f"/artifacts/download/{found['id']}"
    secret = _secret(lab)
    token = links.sign(secret, found["id"], links.OPERATOR, now() + links.LIFE)
    best = {"server": 0.0, "nginx": 0.0}
    for _ in range(ROUNDS + 1):
        for name, url in (("server", f"{lab.url}{link}?token={token}"), ("nginx", f"{other}/large.mender")):
            command = ["curl", "-sk", "-o", "/dev/null", "-w", "%{speed_download}", url]
            speed = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            best[name] = max(best[name], speed)
    ratio = round(best["server"] / best["nginx"], 3)
    told = {name: round(speed / 1e6) for name, speed in best.items()}
    return {
        "server_mb_s": told["server"],
        "nginx_mb_s": told["nginx"],
        "ratio": ratio,
        "upload_mb_s": round(uploading / 1e6),
    }


def _secret(lab: Laboratory) -> bytes:
    database = Database(sqlite_at(lab.folder))
    with database.reading() as connection:
        found = settings.secret(connection)
    database.close()
    return found


def deployment(folder: Path, lab: Laboratory, name: str) -> float:
    """A small artifact, and a deployment of it to all; seconds for the latter."""
    content, artifact = folder / "small", folder / "small.mender"
    content.write_bytes(os.urandom(10_000))
    with artifact.open("wb") as file:
        write_module_artifact(file, payload_type="single-file", files=[content], name=name, device_types=["bench"])
    lab.command("upload", str(artifact))
    began = time.perf_counter()
    lab.command("deploy", name, "--all")
    return round(time.perf_counter() - began, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--largest", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of the time")
    options = parser.parse_args()
    seconds = 3 if options.quick else 30
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "files").mkdir()
        lab = Laboratory(folder)
        try:
            growth = {}
            for number in (100, 1000, options.devices, options.largest):
                lab.grow(number)
                once = lab.fleet(
                    "polls", interval=max(1, number / 1000), seconds=max(1, number / 1000), connections=100
                )
                growth[number] = once
            told["growth"] = growth
            lab.devices = lab.devices[: options.devices]
            with nginx(folder / "nginx", lab.folder / "tls", folder / "files", 18_443) as other:
                told["polls_a_second"] = polls(folder, lab, other, max(3, seconds // 4))
                told["downloads"] = downloads(folder, lab, other)
            # The first look at each device is in the growth; here they are known.
            told["polls_every_10_s"] = lab.fleet("polls", interval=10, seconds=seconds + 10, warm=10, connections=1000)
            told["polls_every_60_s_new_connection"] = lab.fleet("fresh", interval=60, seconds=seconds, connections=500)
            lab.restart()
            told["herd"] = lab.fleet("herd", connections=500)
            told["order_s"] = deployment(folder, lab, "cycle")
            lab.devices = lab.devices[:AT_WORK]
            told["cycle"] = lab.fleet("cycle", connections=50)
        finally:
            lab.close()
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
