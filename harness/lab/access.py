# SPDX-License-Identifier: Apache-2.0
"""A rig at whose board somebody has a hand: files come to it, and its configuration is changed."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.board.stick import Stick
from harness.errors import HarnessBug
from harness.lab.fileserver import FileServer
from harness.lab.hostile import HostileRig

CONFIGURATION = "/data/mender/mender.conf"
OWN = "Bootproof"  # the object of the configuration whose keys are changed one by one


class AccessRig(HostileRig):
    """A rig with access to its board."""

    _files: FileServer | None = None
    _stick: Stick | None = None

    def offer(self, file: Path) -> str:
        """Have this machine serve a file over plain HTTP; returns the address that the board reaches it by."""
        if self._files is None:
            self._files = self._ends.enter_context(contextlib.closing(FileServer()))
        return self._files.offer(file)

    def put(self, file: Path, place: str) -> None:
        """Copy a file of this machine to the board."""
        self.run(f"wget -q -O {place} {self.offer(file)} && sync")

    def write(self, content: str, place: str) -> None:
        """Replace a small file on the board by this text, whole."""
        self.run(f"cat >{place}.new <<'END' && mv {place}.new {place} && sync\n{content}\nEND")

    def wait_said(self, pattern: str) -> None:
        """Wait until the console shows a pattern, in what has not been looked at.

        Raises:
            GuestFault: it does not, in the time that a board has to come up.
        """
        with self.events.step(f"Wait until the console shows '{pattern}'"):
            self.board.console.expect(pattern, self.deadline())

    def plug_in(self, *files: Path) -> None:
        """Plug a memory stick with these files into the board, which must be off.

        Raises:
            HarnessBug: it is on.
        """
        if self.board.on:
            raise HarnessBug("A stick is plugged in while the board is off.")
        stick = Stick(files, self.folder / "stick.log")
        self._ends.callback(stick.pull)
        self._stick = stick
        self.board.spec = replace(self.board.spec, stick=stick.socket)

    def pull_stick(self) -> None:
        """Pull the stick out, whatever the board is doing with it.

        Raises:
            HarnessBug: there is none.
        """
        if self._stick is None:
            raise HarnessBug("No stick is plugged in.")
        self.events.emit("fault", says="The stick is pulled out")
        self._stick.pull()
        self._stick = None
        self.board.spec = replace(self.board.spec, stick=None)

    def trust(self, signer: str | None) -> None:
        """Have the device take what that signer signs and nothing else, or (None) whatever there is."""
        place = ""
        if signer is not None:
            place = f"/data/mender/{signer}.pub.pem"
            self.write(self.catalogue.verify_key(signer).decode(), place)
        self.configure(ArtifactVerifyKey=place)

    def configure(self, **values: Any) -> None:
        """Change the device's configuration, and have its updater start anew with it.

        Keys below `Bootproof` are given as one mapping and leave the others of it as they are.
        """
        known = json.loads(self.run(f"cat {CONFIGURATION}"))
        if OWN in values:
            values[OWN] = {**known.get(OWN, {}), **values[OWN]}
        self.write(json.dumps({**known, **values}, indent=1), CONFIGURATION)
        self.run("kill $(cat /data/mender/daemon.pid)")
        self.wait_poll()
