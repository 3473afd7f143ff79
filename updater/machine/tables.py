# SPDX-License-Identifier: Apache-2.0
"""The whole course of an update as two tables: what follows what, and where to go on after the power has failed.

The names that are stored are Mender's.  A state is stored *before* its work begins, so a
stored name means: this work may have begun, and may have been done in part or whole.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The value of a state is its stored name."""

    IDLE = "idle"
    DOWNLOAD = "update-store"
    INSTALL = "update-install"
    VERIFY_INSTALL = "verify-install"
    REBOOT = "reboot"
    VERIFY_REBOOT = "after-reboot"
    COMMIT = "update-commit"
    VERIFY_COMMIT = "verify-commit"
    AFTER_COMMIT = "update-after-commit"
    ROLLBACK = "rollback"
    ROLLBACK_REBOOT = "rollback-reboot"
    VERIFY_ROLLBACK = "after-rollback-reboot"
    FAILURE = "update-error"
    CLEANUP = "cleanup"
    REPORT = "update-status-report"


class Event(StrEnum):
    """How the work of a state ended."""

    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"  # the server has taken the deployment back
    REBOOT_NEEDED = "reboot needed"


S, E = State, Event
# fmt: off
TRANSITIONS: dict[tuple[State, Event], State] = {
    # The slot that does not run is written; nothing has to be undone if that fails.
    (S.DOWNLOAD,        E.DONE):            S.INSTALL,
    (S.DOWNLOAD,        E.FAILED):          S.CLEANUP,
    (S.DOWNLOAD,        E.ABORTED):         S.CLEANUP,
    # The flip.
    (S.INSTALL,         E.DONE):            S.REBOOT,
    (S.INSTALL,         E.FAILED):          S.ROLLBACK,
    (S.INSTALL,         E.ABORTED):         S.CLEANUP,
    # The power failed around the flip: the bootloader knows whether it was made, and which slot runs.
    (S.VERIFY_INSTALL,  E.DONE):            S.COMMIT,
    (S.VERIFY_INSTALL,  E.FAILED):          S.ROLLBACK,
    # A reboot that works ends this process; RESUME goes on from here.
    (S.REBOOT,          E.FAILED):          S.ROLLBACK,
    (S.REBOOT,          E.ABORTED):         S.ROLLBACK,
    (S.VERIFY_REBOOT,   E.DONE):            S.COMMIT,
    (S.VERIFY_REBOOT,   E.FAILED):          S.ROLLBACK,
    # The server must have heard from the new system before it is kept.
    (S.COMMIT,          E.DONE):            S.AFTER_COMMIT,
    (S.COMMIT,          E.FAILED):          S.VERIFY_COMMIT,    # it may have been made all the same
    (S.COMMIT,          E.ABORTED):         S.ROLLBACK,
    # Something failed around the commit: the bootloader knows whether it was made.
    (S.VERIFY_COMMIT,   E.DONE):            S.AFTER_COMMIT,
    (S.VERIFY_COMMIT,   E.FAILED):          S.ROLLBACK,
    # From here on the update is kept, whatever happens.
    (S.AFTER_COMMIT,    E.DONE):            S.CLEANUP,
    (S.ROLLBACK,        E.DONE):            S.FAILURE,
    (S.ROLLBACK,        E.REBOOT_NEEDED):   S.ROLLBACK_REBOOT,
    (S.ROLLBACK,        E.FAILED):          S.FAILURE,
    (S.ROLLBACK_REBOOT, E.FAILED):          S.VERIFY_ROLLBACK,
    (S.VERIFY_ROLLBACK, E.DONE):            S.FAILURE,
    (S.VERIFY_ROLLBACK, E.FAILED):          S.ROLLBACK_REBOOT,
    (S.FAILURE,         E.DONE):            S.CLEANUP,
    (S.CLEANUP,         E.DONE):            S.REPORT,
    (S.REPORT,          E.DONE):            S.IDLE,
}

# Where to go on after an unexpected start, by the stored name; a name that is not here rolls back.
RESUME: dict[State, State] = {
    S.DOWNLOAD:         S.CLEANUP,          # nothing was flipped
    S.INSTALL:          S.VERIFY_INSTALL,   # a cut after the flip is as good as the reboot
    S.VERIFY_INSTALL:   S.ROLLBACK,
    S.REBOOT:           S.VERIFY_REBOOT,    # the usual way
    S.VERIFY_REBOOT:    S.ROLLBACK,
    S.COMMIT:           S.VERIFY_COMMIT,    # a commit that was made is never reported as a failure
    S.VERIFY_COMMIT:    S.VERIFY_COMMIT,
    S.AFTER_COMMIT:     S.AFTER_COMMIT,
    S.ROLLBACK:         S.ROLLBACK,
    S.ROLLBACK_REBOOT:  S.VERIFY_ROLLBACK,
    S.VERIFY_ROLLBACK:  S.VERIFY_ROLLBACK,
    S.FAILURE:          S.FAILURE,
    S.CLEANUP:          S.CLEANUP,          # the outcome is stored, so it is not forgotten
    S.REPORT:           S.REPORT,
}
# fmt: on
STORE_LIMIT = 28  # how often one update may be stored; beyond that it is going in circles
# What is gone through also beyond the limit: from here the way to the end is short, and the truth must be told.
ENDING = frozenset({S.VERIFY_COMMIT, S.AFTER_COMMIT, S.FAILURE, S.CLEANUP, S.REPORT})


def resume(stored: str) -> State:
    """The state to enter when an update's record says `stored`."""
    try:
        return RESUME.get(State(stored), State.ROLLBACK)
    except ValueError:
        return State.ROLLBACK
