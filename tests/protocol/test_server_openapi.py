# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI description is true: schemathesis asks a running server for what it promises, rightly and wrongly."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server_stub.domain import tokens
from tests.protocol.conftest import Device, Operator, Server

EXAMPLES = "12"
# Some rules lie between two fields or inside a text (a key, an artifact), where a schema cannot say them; so a body
# that fits the schema may still be refused, and is, with a sentence.
UNSAID = "positive_data_acceptance"
# Whoever asks for them with another's password or ends the session in the middle asks nothing else afterwards.
OTHERWISE = "auth/(login|logout)"
# A device for which there is nothing is told so before anybody reads what it sends.
CONFIGURATION = """
[[operations]]
include-path-regex = "/next$"
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture(scope="module")
def asked(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: what is asked of it deletes and aborts at random."""
    server = Server(shutil.copytree(prepared, tmp_path_factory.mktemp("asked") / "server"))
    server.start()
    yield server
    assert server.end(signal.SIGTERM) == 0


def ask(server: Server, token: str, which: str, folder: Path) -> None:
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    # One of the things that are asked for is a wrong certificate; who asks by this name is never shown it.
    by_name = server.url.replace("127.0.0.1", "localhost")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{by_name}/api/openapi.json", "--no-color"),
        *("--tls-verify", server.ca, "--header", f"Authorization: Bearer {token}", "--seed", "1"),
        *("--include-path-regex", which, "--exclude-path-regex", OTHERWISE, "--exclude-checks", UNSAID),
        *("--max-examples", EXAMPLES, "--generation-database", "none", "--warnings", "off"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=600)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert "Tested: 0" not in done.stdout


def test_the_management_interface_does_what_it_says(asked: Server, tmp_path: Path):
    ask(asked, tokens.for_local(asked.secret(), datetime.now(UTC)), "^/(api/management|healthz|metrics)", tmp_path)


def test_the_device_interface_does_what_it_says(asked: Server, tmp_path: Path):
    operator = Operator(asked, tokens.for_local(asked.secret(), datetime.now(UTC)))
    device = Device.preauthorized(operator)
    ask(asked, device.token, "^/(api/devices|artifacts)", tmp_path)


def test_every_route_but_the_health_says_who_may_ask(asked: Server):
    described = asked.call("GET", "/api/openapi.json").json()
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            by_link = path.startswith(("/artifacts/", "/healthz")) or path.endswith("auth_requests")
            assert by_link or operation.get("security"), f"{method} {path}"
