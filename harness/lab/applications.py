# SPDX-License-Identifier: Apache-2.0
"""The verbs for applications: what is deployed without touching the system, and what is claimed of it.

deploy_application · claim_application · claim_application_whole        (beside a rig's other verbs)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.board.machine import Media
from harness.errors import HarnessBug
from harness.evidence import Events, RunFolder
from harness.judge import SLOTS, Slot, Verdict, data
from harness.judge.application import (
    STATE_SCRIPTS,
    WORKING_TREE,
    ApplicationEvidence,
    ApplicationExpectation,
    Ending,
    Installed,
    judge_application,
    torn,
)
from harness.judge.verdict import Expectation
from harness.lab.judged import JudgedRig
from harness.lab.rig import Parts, start_parts
from images.applications import APPS, Application
from images.catalogue import Catalogue
from images.nodes import Nodes


@dataclass(frozen=True)
class Deployed:
    """An application update under way, and the board before it."""

    application: Application
    old: Installed
    new: Installed
    ran: Slot
    slots: dict[Slot, str]


class ApplicationRig(JudgedRig):
    """Keeps what the device had before an application update."""

    def __init__(
        self,
        catalogue: Catalogue,
        folder: RunFolder,
        events: Events,
        seed: int,
        start: Callable[[Catalogue, RunFolder, int], Parts] = start_parts,
    ) -> None:
        super().__init__(catalogue, folder, events, seed, start)
        self._begin_again({})
        self._deployed: Deployed | None = None
        self.ending: Ending | None = None  # of the last one

    def take_up(self, old: Application, new: Application, before: Media) -> None:
        """An update from `old` to `new` is under way on this board already; `before` is what it began with."""
        self._begin_again(old.nodes())
        self._name = old.artifact_name
        self._versions[old.kind] = old.artifact_name
        self._deployed = self._before(new, before)
        self._uploaded |= dict.fromkeys((old.artifact_name, new.artifact_name), "release")

    def deploy_application(self, kind: str, version: str) -> None:
        """Have the server deploy an application to this board, which must be on."""
        application = Application(kind, version)
        if self._versions.get(kind) == application.artifact_name:
            raise HarnessBug(f"{application.artifact_name} is installed already, so old and new are the same.")
        file = self.catalogue.application(application)
        with self.events.step(f"Deploy the application {kind} of version {version}"):
            if application.artifact_name not in self._uploaded:
                self.server.upload(file)
                self._uploaded[application.artifact_name] = "release"
            self._deployed = self._before(application, self._media_now())
            self.expects(self.version)  # of the system, which stays
            self._deployments += 1
            name = application.artifact_name
            self.deployment = self.server.deploy(f"{name} ({self._deployments})", name, self.device)

    def claim_application(self, expect: ApplicationExpectation, *, did: str = "") -> Verdict:
        """Wait until the board has settled, and judge it as it would be if the power failed now.

        `inconsistent`: the update failed after its module had begun, and the module has no way back.

        Raises:
            ClaimViolated: it is not as claimed.
            Inconclusive: nothing can be said.
        """
        deployed = self._under_way()
        settled = self.settle()
        media = self._media_now()
        board = self._gather(media, record=self.record(with_name=True), with_data=True, settled=settled)
        found = data.nodes(media.view, self.board.spec.layout, APPS, WORKING_TREE, STATE_SCRIPTS)
        said = self.server.attributes(self.device)
        evidence = ApplicationEvidence(
            board=board,
            ran=deployed.ran,
            slots_before=deployed.slots,
            slots=self._slots_of(media),
            old=deployed.old,
            new=deployed.new,
            rolls_back=deployed.application.rolls_back,
            nodes=_below_apps(found),
            remains=[path for path in (WORKING_TREE, STATE_SCRIPTS) if path in found],
            version=said.get(deployed.application.provides),
        )
        verdict = judge_application(evidence, expect=expect)
        did = f"{deployed.application.artifact_name}: {did or (self.cuts[-1] if self.cuts else 'no cut')}"
        self._conclude(did, board, media, verdict)
        self._keep(f"settled after {deployed.application.artifact_name}", verdict)
        self._take_over(deployed.application, evidence)
        return verdict

    def claim_application_whole(self) -> None:
        """What stands in the application's place at this moment, also right after a cut, is the old or the new one.

        Raises:
            ClaimViolated: it is neither.
        """
        deployed = self._under_way()
        media = self._media_now() if self.board.on else self.board.media
        found = data.nodes(media.view, self.board.spec.layout, deployed.application.place)
        wrong = torn(found, deployed.application.place, deployed.old.nodes, deployed.new.nodes)
        self.claim_that(wrong is None, f"the application is whole at this moment{f' ({wrong})' if wrong else ''}")

    def claim(self, expect: Expectation, *, did: str = "") -> Verdict:
        """As of every judged rig.  What a device says of its applications is another system's to say afterwards."""
        verdict = super().claim(expect, did=did)
        self._begin_again(self._nodes)
        return verdict

    def _begin_again(self, nodes: Nodes) -> None:
        self._nodes = nodes  # of all applications, as the last claim has found them
        self._name = ""  # what the device calls itself; empty: after its system
        self._versions: dict[str, str | None] = {}  # kind -> what the device says that it has

    def _before(self, application: Application, media: Media) -> Deployed:
        others = {
            path: node
            for path, node in self._nodes.items()
            if path != application.place and not path.startswith(f"{application.place}/")
        }
        name = self._name or self.catalogue.artifact_name(self.version)
        return Deployed(
            application,
            old=Installed(self._nodes, name, self._versions.get(application.kind)),
            new=Installed({**others, **application.nodes()}, application.artifact_name, application.artifact_name),
            ran=self.running,
            slots=self._slots_of(media),
        )

    def _take_over(self, application: Application, evidence: ApplicationEvidence) -> None:
        """What was found is what the next update begins with."""
        assert evidence.board.server is not None
        self._nodes = evidence.nodes
        self._name = evidence.board.server.artifact_name or ""
        self._versions[application.kind] = evidence.version
        self.ending = evidence.ending
        self._deployed = None

    def _under_way(self) -> Deployed:
        if self._deployed is None:
            raise HarnessBug("No application was deployed, so nothing can be claimed of one.")
        return self._deployed

    def _slots_of(self, media: Media) -> dict[Slot, str]:
        places = {slot: self.board.spec.layout.partition(f"rootfs-{slot}") for slot in SLOTS}
        return {slot: media.view.digest(place.start, place.size) for slot, place in places.items()}


def _below_apps(found: Nodes) -> Nodes:
    return {path: node for path, node in found.items() if path == APPS or path.startswith(f"{APPS}/")}
