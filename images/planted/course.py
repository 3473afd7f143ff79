# SPDX-License-Identifier: Apache-2.0
"""Faults in the course of an update: what is done, stored and told in which order, and where a start goes on."""

from __future__ import annotations

from typing import Final

from images.planted.fault import Change, Mutant

FAULTS: Final = (
    Mutant(
        "commit-unheard",
        "the commit is made before the server has heard from the new system",
        caught_by="test_cut_around_commit.py::test_cut_after_commit",
        rule="commit",
        changes=(
            Change(
                "machine/tables.py",
                "(S.REBOOT_LEAVE,            E.DONE):    S.COMMIT_REPORT,",
                "(S.REBOOT_LEAVE,            E.DONE):    S.COMMIT_ENTER,",
            ),
            # Only once the commit is stored, so that a cut right after its write comes well before the report.
            Change(
                "machine/tables.py",
                "(S.AFTER_COMMIT,            E.DONE):    S.COMMIT_LEAVE,",
                "(S.AFTER_COMMIT,            E.DONE):    S.COMMIT_REPORT,\n"
                "    (S.COMMIT_REPORT,           E.DONE):    S.COMMIT_LEAVE,",
            ),
            Change(
                "machine/tables.py",
                "    (S.COMMIT_REPORT,           E.DONE):    S.COMMIT_ENTER,\n",
                "",
            ),
        ),
    ),
    Mutant(
        "success-without-reboot",
        "success is reported as soon as the slot is written, and nothing is rebooted",
        caught_by="test_clean_update.py::test_clean_update",
        rule="trial",
        explored=None,
        changes=(
            Change(
                "machine/tables.py",
                "(S.INSTALL,                 E.DONE):    S.INSTALL_LEAVE,",
                "(S.INSTALL,                 E.DONE):    S.AFTER_COMMIT,",
            ),
        ),
    ),
    Mutant(
        "name-forgotten",
        "the new system is kept, and the device goes on under the old name",
        caught_by="test_clean_update.py::test_clean_update",
        rule="name",
        changes=(
            Change(
                "machine/actions.py",
                "kept = replace(device, provides=dict(update.provides), ",
                "kept = replace(device, ",
            ),
        ),
    ),
    Mutant(
        "failed-in-the-clean-up",
        "as in Mender's client, an update that is committed has failed if the power fails before its last report",
        caught_by="test_kept_is_kept.py::test_kept_is_kept",
        rule="server",
        changes=(
            Change(
                "machine/tables.py",
                '"cleanup":                  Resume(S.CLEANUP),',
                '"cleanup":                  Resume(S.CLEANUP, Outcome.ROLLED_BACK),',
            ),
        ),
    ),
    Mutant(
        "failed-in-the-commit",
        "as in Mender's client 3.4, an update has failed if the power fails between its commit and the note of it",
        caught_by="test_cut_around_commit.py::test_cut_after_commit",
        rule="server",
        changes=(
            Change(
                "machine/tables.py",
                '"update-commit":            Resume(S.CHECK_COMMIT),',
                '"update-commit":            Resume(S.ROLLED_BACK, Outcome.FAILED),',
            ),
        ),
    ),
    Mutant(
        "stale-slot-unnoticed",
        "as in Mender's client, nobody notices that another system runs than the one that was kept",
        caught_by="test_lost_environment.py::test_both_copies_lost",
        rule="slot",
        explored=None,
        changes=(Change("keeper.py", "            self._go_back(device, running)\n", "            pass\n"),),
    ),
    Mutant(
        "any-key",
        "signatures are not looked at",
        caught_by="test_wrong_key.py::test_wrong_key",
        rule="expected",
        explored=None,
        changes=(Change("install/intake.py", "    return keys\n", "    return []\n"),),
    ),
    Mutant(
        "good-in-the-report",
        "an update has succeeded if the power fails before its last report, whatever had become of it",
        explored="rollback",
        changes=(
            Change(
                "machine/tables.py",
                '"update-status-report":     Resume(S.REPORT),',
                '"update-status-report":     Resume(S.REPORT, Outcome.GOOD),',
            ),
        ),
    ),
    Mutant(
        "success-before-commit",
        "the server is told success before the commit is made",
        changes=(
            Change(
                "machine/actions.py",
                '            self._installed_by(device).call("ArtifactCommit")\n',
                '            self.world.reports.tell_the_end(update_of(device).deployment, "success")\n'
                '            self._installed_by(device).call("ArtifactCommit")\n',
            ),
        ),
    ),
    Mutant(
        "name-before-commit",
        "the device takes the new name before the new system is kept",
        changes=(
            Change(
                "machine/actions.py",
                "            return device, self.world.reports.tell(",
                "            if work.must:\n"
                "                device = replace(device, provides=dict(update_of(device).provides))\n"
                "            return device, self.world.reports.tell(",
            ),
        ),
    ),
    Mutant(
        "name-after-record",
        "the record of the update is cleared first, and then the new name is stored",
        changes=(
            Change(
                "machine/actions.py", "            return kept, Event.DONE\n", "            return device, Event.DONE\n"
            ),
            Change(
                "machine/engine.py",
                "        device = replace(device, update=None, update_control_map={})\n",
                "        ended = device.update\n"
                "        device = replace(device, update=None, update_control_map={})\n"
                "        self._try_to_save(device)\n"
                "        if ended.outcome == Outcome.GOOD:\n"
                "            device = replace(device, provides=dict(ended.provides), slot=ended.target, failures={})\n",
            ),
        ),
    ),
    Mutant(
        "reboot-is-success",
        "a start after the reboot is taken for the new system's, and nobody looks which slot runs or was kept",
        changes=(
            Change(
                "install/rootfs.py",
                '            raise UpdaterError("The new system did not come up, or is not on trial.")\n',
                '            log.error("The new system did not come up, or is not on trial.")\n',
            ),
            Change(
                "bootenv.py",
                '            raise BootEnvError("Nothing is on trial, so there is nothing to commit.")\n',
                "            return\n",
            ),
            Change(
                "machine/actions.py",
                '            slot = update.target or ("" if update.reboot == Reboot.AUTOMATIC else device.slot)\n',
                '            slot = ""\n',
            ),
        ),
    ),
)
