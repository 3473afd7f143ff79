# SPDX-License-Identifier: Apache-2.0
"""One case, from an empty directory to what was seen of it."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import requests

from harness.clock import Deadline, poll
from harness.process import Process
from tests.conformance.artifact import NAME, write_artifact, write_empty_artifact
from tests.conformance.cases import Case, Dialect
from tests.conformance.conditions import Conditions
from tests.conformance.device import Device
from tests.conformance.journal import Outcome
from tests.conformance.relay import Relay, Weather
from tests.conformance.scripts import artifact_scripts
from tests.protocol.conftest import DEPLOYMENTS, DEVICES, Operator

CASE_SECONDS = 180.0
MOST_RESTARTS = 100


class Stopped(Exception):
    """The case did not come to its end; the message says why."""


@dataclass
class Trials:
    """Runs cases against one server, each with a device, an artifact and a relay of its own."""

    operator: Operator
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, case: Case, dialect: Dialect) -> Outcome:
        folder = Path(tempfile.mkdtemp(prefix="conformance-"))
        device = Device(folder, dialect)
        # Of its own, because one HTTP session is not for several threads.
        line = requests.Session()
        line.verify, line.trust_env = self.operator.server.http.verify, False
        operator = replace(self.operator, server=replace(self.operator.server, http=line))
        try:
            with line:
                return _Trial(case.conditions, device, operator, self.stop).run()
        finally:
            device.end_programs()
            device.make_store_writable()
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class _Trial:
    conditions: Conditions
    device: Device
    operator: Operator
    stop: threading.Event
    deployment: str = ""

    def run(self) -> Outcome:
        tls = self.operator.server.folder / "tls"
        weather = self._weather()
        trouble = ""
        with Relay(self.operator.server.url, tls, weather) as relay:
            key = self.device.furnish(self.conditions, relay.url, tls / "ca.pem")
            known = self._introduce(key)
            try:
                if self.conditions.unwritable_after == 0:
                    self._let_store_be_made()
                    self.device.make_store_unwritable()
                self._upload(weather)
                self.deployment = self.operator.deploy(NAME, known)
                self._drive(Deadline(CASE_SECONDS))
            except Stopped as why:
                trouble = str(why)
        journal = self.device.places.journal.read_text().splitlines()
        return Outcome(journal, self.device.artifact_name(), trouble)

    def _weather(self) -> Weather:
        given = self.conditions
        return Weather(
            self.device.places.journal,
            given.failing_status,
            given.failing_reports,
            self._abort if given.aborts else None,
            b"" if given.broken_download else None,
        )

    def _introduce(self, key: str) -> str:
        """Let the server know the device before it calls: there is no poll then that finds nothing."""
        body = {"identity_data": self.device.identity, "pubkey": key}
        answer = self.operator.call("POST", DEVICES, json=body)
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"].rpartition("/")[2]

    def _upload(self, weather: Weather) -> None:
        path = self._write_artifact("artifact", self.device.device_type)
        answer = self.operator.upload(path)
        assert answer.status_code == 201, answer.text
        if self.conditions.other_device_type:
            # The server itself gives a device nothing that is for others.
            weather.download = self._write_artifact("other", "another-type").read_bytes()

    def _write_artifact(self, name: str, device_type: str) -> Path:
        path = self.device.folder / f"{name}.mender"
        if self.conditions.empty_payload:
            write_empty_artifact(path, device_type)
        else:
            scripts = artifact_scripts(self.conditions, self.device.places, self.device.store)
            write_artifact(path, device_type, scripts)
        return path

    def _abort(self) -> None:
        self.operator.call("PUT", f"{DEPLOYMENTS}/{self.deployment}/status", json={"status": "aborted"})

    def _let_store_be_made(self) -> None:
        """A first start of the updater, without a deployment and without a trace."""
        process = self.device.start()
        try:
            self._wait(process, self.device.store.exists, Deadline(CASE_SECONDS))
            if not self.device.store.exists():
                raise Stopped(f"The updater ended before it had a store:\n{process.said()}")
        finally:
            process.terminate()
        self.device.places.journal.write_text("")

    def _drive(self, deadline: Deadline) -> None:
        """Start the updater, and again after every kill, until the case is over."""
        for starts in range(MOST_RESTARTS + 1):
            if starts:
                self._prepare_restart(starts)
            process = self.device.start()
            try:
                self._wait(process, self.device.places.over.exists, deadline)
            finally:
                running = process.running
                status = process.terminate()
            if running:
                return
            if status != -signal.SIGKILL:
                raise Stopped(f"The updater ended with status {status}:\n{process.said()}")
        raise Stopped(f"The updater was started {MOST_RESTARTS} times again, and the case was still not over.")

    def _wait(self, process: Process, reached: Callable[[], bool], deadline: Deadline) -> None:
        """Until the case has got somewhere or the updater has ended by itself."""
        if not poll(lambda: reached() or not process.running or self.stop.is_set(), deadline, every=0.02):
            raise Stopped(f"The case was not over after {CASE_SECONDS:.0f} s:\n{process.said()}")
        if self.stop.is_set():
            raise Stopped("The run was stopped.")

    def _prepare_restart(self, number: int) -> None:
        try:
            if number == self.conditions.schema_update_at:
                self.device.give_store_to_another_format()
            if self.conditions.control_map is not None:
                self.device.give_control_map(self.conditions.control_map)
        except (OSError, ValueError) as error:
            raise Stopped(f"The updater left a store that cannot be changed: {error!r}.") from error
