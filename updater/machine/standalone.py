# SPDX-License-Identifier: Apache-2.0
"""The tables of standalone mode: an update that is installed, committed and rolled back by commands.

It has the steps of managed mode without reports and reboots, and places at which it can be made to stop; those are
stored under names of their own (Mender's), so that stopping twice at one place is stopping once.
"""

from __future__ import annotations

from updater.machine.steps import Event, Outcome, Step
from updater.machine.tables import TRANSITIONS, Dialect, Resume

S, E = Step, Event
LIMIT = 1000  # a person with a keyboard may go in circles for long
# fmt: off
STANDALONE = Dialect(
    "standalone",
    {
        **TRANSITIONS,
        (S.DOWNLOAD_LEAVE,      E.DONE):    S.HOLD_INSTALL,
        (S.HOLD_INSTALL,        E.DONE):    S.INSTALL_ENTER,
        (S.HOLD_INSTALL,        E.FAILED):  S.NOT_NEEDED,
        (S.CHECK_REBOOT,        E.DONE):    S.DECIDE,
        (S.CHECK_REBOOT,        E.NOTHING): S.DECIDE,
        # What can be rolled back waits for somebody to look at it.
        (S.DECIDE,              E.DONE):    S.AWAIT_COMMIT,
        (S.DECIDE,              E.NOTHING): S.HOLD_COMMIT,
        (S.DECIDE,              E.FAILED):  S.CHECK_ROLLBACK,
        (S.AWAIT_COMMIT,        E.DONE):    S.HOLD_COMMIT,
        (S.AWAIT_COMMIT,        E.FAILED):  S.CHECK_ROLLBACK,
        (S.HOLD_COMMIT,         E.DONE):    S.COMMIT_ENTER,
        (S.HOLD_COMMIT,         E.FAILED):  S.CHECK_ROLLBACK,
        (S.COMMIT,              E.DONE):    S.HOLD_COMMIT_LEAVE,
        (S.CHECK_COMMIT,        E.DONE):    S.HOLD_COMMIT_LEAVE,
        (S.CHECK_COMMIT,        E.AGAIN):   S.HOLD_COMMIT,
        (S.HOLD_COMMIT_LEAVE,   E.DONE):    S.COMMIT_LEAVE,
        (S.HOLD_COMMIT_LEAVE,   E.FAILED):  S.COMMIT_LEAVE_ERROR,
        # Whether a reboot is needed is said, but a person makes it.
        (S.CHECK_ROLLBACK_REBOOT, E.DONE):  S.ROLLED_BACK,
        (S.CHECK_ROLLBACK_REBOOT, E.FAILED): S.ROLLED_BACK,
        (S.CLEANUP,             E.DONE):    S.IDLE,
        (S.CLEANUP,             E.FAILED):  S.IDLE,
    },
    limit=LIMIT,
    start_cost=1,
    reboots=False,
    first=S.DOWNLOAD_ENTER,
    stored={
        S.HOLD_INSTALL:         "Before_ArtifactInstall_Enter",
        S.INSTALL_ENTER:        "ArtifactInstall_Enter",
        S.AWAIT_COMMIT:         "Before_ArtifactCommit_Enter",
        S.HOLD_COMMIT:          "Before_ArtifactCommit_Enter",
        S.COMMIT_ENTER:         "ArtifactCommit_Enter",
        S.HOLD_COMMIT_LEAVE:    "Before_ArtifactCommit_Leave",
        S.COMMIT_LEAVE:         "ArtifactCommit_Leave",
        S.ROLLBACK_ENTER:       "ArtifactRollback_Enter",
        S.FAILURE_ENTER:        "ArtifactFailure_Enter",
        S.CLEANUP:              "Cleanup",
    },
    resume={
        "Before_ArtifactInstall_Enter":  Resume(S.HOLD_INSTALL),
        "ArtifactInstall_Enter":         Resume(S.CHECK_ROLLBACK, Outcome.FAILED),
        "Before_ArtifactCommit_Enter":   Resume(S.HOLD_COMMIT),
        "ArtifactCommit_Enter":          Resume(S.CHECK_COMMIT),
        "Before_ArtifactCommit_Leave":   Resume(S.HOLD_COMMIT_LEAVE),
        "ArtifactCommit_Leave":          Resume(S.COMMIT_LEAVE),
        "ArtifactRollback_Enter":        Resume(S.ROLLBACK_ENTER),
        "ArtifactFailure_Enter":         Resume(S.FAILURE_ENTER),
        "Cleanup":                       Resume(S.CLEANUP),
    },
)
# fmt: on
# Where --stop-before can stop, by the name that is given there.
STOPS = {
    "ArtifactInstall_Enter": S.HOLD_INSTALL,
    "ArtifactCommit_Enter": S.HOLD_COMMIT,
    "ArtifactCommit_Leave": S.HOLD_COMMIT_LEAVE,
    "ArtifactRollback_Enter": S.ROLLBACK_ENTER,
    "ArtifactFailure_Enter": S.FAILURE_ENTER,
    "Cleanup": S.CLEANUP,
}
BEFORE_INSTALL = STANDALONE.stored[S.HOLD_INSTALL]
# Stored names at which a person is waited for; at any other name an update that was not stopped was interrupted.
WAITING = frozenset(STANDALONE.stored[step] for step in (S.HOLD_INSTALL, S.AWAIT_COMMIT, S.HOLD_COMMIT_LEAVE))
# From which stored names a commit or a rollback can be asked for.
CAN_COMMIT = frozenset({"Before_ArtifactCommit_Enter", "ArtifactCommit_Enter"})
CAN_ROLL_BACK = CAN_COMMIT | {
    "Before_ArtifactInstall_Enter", "ArtifactInstall_Enter", "Before_ArtifactCommit_Leave", "ArtifactRollback_Enter",
}  # fmt: skip


def way_on(state: str) -> str:
    """What a person can do about an update that is stored as `state`."""
    if state in CAN_COMMIT:
        return "Please commit or roll back first."
    if state in CAN_ROLL_BACK:
        return "Please roll back first, or use `resume` to complete it."
    return "Use `resume` to complete it."
