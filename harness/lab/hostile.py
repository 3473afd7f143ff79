# SPDX-License-Identifier: Apache-2.0
"""A rig whose server does wrong when the story says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.errors import Inconclusive
from harness.faults.server import ServerFault
from harness.lab.line import LineRig


class HostileRig(LineRig):
    """A rig whose server can be told what to do wrong."""

    @contextlib.contextmanager
    def server_does(self, *faults: ServerFault) -> Iterator[None]:
        """For as long as the block lasts, the server does this wrong: each request meets the first that applies.

        Raises:
            Inconclusive: one of the faults never had its effect on the board.
        """
        says = ", then ".join(str(one) for one in faults)
        self.events.emit("fault", says=f"From now on the server does wrong: {says}")
        self.server.inject(*[one.as_rule() for one in faults])
        try:
            yield
        finally:
            fired = self.server.fired()
            self.server.heal()
            for one, count in zip(faults, fired, strict=True):
                self.folder.append("server-faults.json", {"fault": str(one), "fired": count})
        never = [str(one) for one, count in zip(faults, fired, strict=True) if not count]
        if never:
            raise Inconclusive(f"The server never did this wrong: {', '.join(never)}.")

    def brings(self, version: str, *, signer: str = "release") -> str:
        """Have the server keep the artifact of a version that is not deployed; returns its id there."""
        with self.events.step(f"Bring version {version} to the server, to be misused"):
            self._uploaded[self.catalogue.artifact_name(version)] = signer
            return self.server.upload(self.catalogue.artifact(version, signer))
