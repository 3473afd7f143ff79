# SPDX-License-Identifier: Apache-2.0
"""Debian's own mender-client and mender-cli, unmodified, on this machine: other people's device and operator."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images.foreign import MenderTools
from images.stage import Workshop

DEVICE_TYPE = "qemu-board"


@dataclass(frozen=True)
class ForeignClient:
    """The daemon, with a root of its own: what it looks for in /usr/share and /etc is laid over this machine's."""

    tools: Path
    folder: Path
    version = "3.4"

    def prepare(self, url: str, ca: str, artifact: str = "old") -> None:
        configuration = {
            "Servers": [{"ServerURL": url}],
            "ServerCertificate": ca,
            "UpdatePollIntervalSeconds": 1,
            "InventoryPollIntervalSeconds": 1,
            "RetryPollIntervalSeconds": 1,
        }
        (self.folder / "data").mkdir(parents=True)
        (self.folder / "data/device_type").write_text(f"device_type={DEVICE_TYPE}\n")
        (self.folder / "etc/mender").mkdir(parents=True)
        (self.folder / "etc/mender/artifact_info").write_text(f"artifact_name={artifact}\n")
        (self.folder / "mender.conf").write_text(json.dumps(configuration))
        shutil.copytree(self.tools / "share", self.folder / "share")
        # The one of the package names this machine's network card: all clients here would be one device.
        identity = self.folder / "share/mender/identity/mender-device-identity"
        identity.write_text(f"#!/bin/sh\necho mac={uuid.uuid4().hex}\n")

    @contextmanager
    def running(self) -> Iterator[None]:
        """The daemon at work; ended afterwards."""
        layers = [
            f"mount -t overlay overlay -o lowerdir={self.folder}/share:/usr/share /usr/share",
            f"mount -t overlay overlay -o lowerdir={self.folder}/etc:/etc /etc",
        ]
        options = f"--config {self.folder}/mender.conf --fallback-config /nonexistent --data {self.folder}/data"
        itself = f"exec {self.tools}/bin/mender {options} --no-syslog --log-level debug daemon"
        words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", "\n".join([*layers, itself])]
        environment = {**os.environ, "LD_LIBRARY_PATH": str(self.tools / "lib")}
        with daemon(words, environment, self.folder / "log"):
            yield

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


@contextmanager
def daemon(words: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """A process at work, ended afterwards; what it says is added to the log."""
    with log.open("ab") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, env=environment)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def tools() -> Path:
    return Workshop().get(MenderTools())


def mender_cli(home: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The operator's tool; its token lies below `home`."""
    found = tools()
    environment = {**os.environ, "HOME": str(home), "LD_LIBRARY_PATH": str(found / "lib")}
    command = [found / "bin/mender-cli", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, timeout=60)
