# SPDX-License-Identifier: Apache-2.0
"""The whole course of an update as two tables: what follows what, and where to go on after an unexpected start.

Two generations of clients are in the field, and they differ in a few rows: a dialect is the table of one of them.
`cpp` is Mender 4 and 5, and what this client does by itself; `go34` is Mender 3.4.  Where the original reports an
update that is kept as failed (a start during clean-up or the last report), both dialects here tell the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from updater.machine.steps import NEUTRAL, STORED, Event, Outcome, Step

S, E = Step, Event
# fmt: off
TRANSITIONS: dict[tuple[Step, Event], Step] = {
    # Download: nothing has to be undone if it fails.
    (S.DOWNLOAD_REPORT,         E.DONE):    S.DOWNLOAD_ENTER,
    (S.DOWNLOAD_REPORT,         E.ABORTED): S.NOT_NEEDED,
    (S.DOWNLOAD_ENTER,          E.DONE):    S.HEADER,
    (S.DOWNLOAD_ENTER,          E.FAILED):  S.DOWNLOAD_ERROR,
    (S.DOWNLOAD_ENTER,          E.LOOPED):  S.LOOP,
    (S.HEADER,                  E.DONE):    S.DOWNLOAD,
    (S.HEADER,                  E.NOTHING): S.DOWNLOAD_LEAVE_EMPTY,
    (S.HEADER,                  E.FAILED):  S.DOWNLOAD_ERROR,
    (S.DOWNLOAD,                E.DONE):    S.DOWNLOAD_LEAVE,
    (S.DOWNLOAD,                E.FAILED):  S.DOWNLOAD_ERROR,
    (S.DOWNLOAD,                E.LOOPED):  S.LOOP,
    # An unexpected start in a download: what is durable need not be fetched again.
    (S.CHECK_DOWNLOAD,          E.DONE):    S.RESUME_REPORT,
    (S.CHECK_DOWNLOAD,          E.NOTHING): S.NOT_NEEDED,
    (S.RESUME_REPORT,           E.DONE):    S.HEADER,
    (S.RESUME_REPORT,           E.ABORTED): S.NOT_NEEDED,
    (S.DOWNLOAD_LEAVE,          E.DONE):    S.INSTALL_REPORT,
    (S.DOWNLOAD_LEAVE,          E.FAILED):  S.DOWNLOAD_ERROR,
    (S.DOWNLOAD_LEAVE_EMPTY,    E.DONE):    S.SAVE_PROVIDES,
    (S.DOWNLOAD_LEAVE_EMPTY,    E.FAILED):  S.DOWNLOAD_ERROR,
    (S.DOWNLOAD_ERROR,          E.DONE):    S.NOT_NEEDED,
    (S.NOT_NEEDED,              E.DONE):    S.CLEANUP,
    # Install: for a root file system, the flip.
    (S.INSTALL_REPORT,          E.DONE):    S.INSTALL_ENTER,
    (S.INSTALL_REPORT,          E.ABORTED): S.NOT_NEEDED,
    (S.INSTALL_ENTER,           E.DONE):    S.INSTALL,
    (S.INSTALL_ENTER,           E.FAILED):  S.INSTALL_ERROR,
    (S.INSTALL_ENTER,           E.LOOPED):  S.LOOP,
    (S.INSTALL,                 E.DONE):    S.INSTALL_LEAVE,
    (S.INSTALL,                 E.FAILED):  S.INSTALL_ERROR,
    (S.INSTALL_LEAVE,           E.DONE):    S.CHECK_REBOOT,
    (S.INSTALL_LEAVE,           E.FAILED):  S.INSTALL_ERROR,
    (S.INSTALL_ERROR,           E.DONE):    S.CHECK_ROLLBACK,
    # An unexpected start around the flip: the bootloader knows whether it was made, and which slot runs.
    (S.CHECK_INSTALL,           E.DONE):    S.VERIFY_REBOOT,
    (S.CHECK_INSTALL,           E.FAILED):  S.CHECK_ROLLBACK,
    (S.CHECK_REBOOT,            E.DONE):    S.REBOOT_REPORT,
    (S.CHECK_REBOOT,            E.NOTHING): S.COMMIT_REPORT,
    (S.CHECK_REBOOT,            E.FAILED):  S.CHECK_ROLLBACK,
    # A reboot that works ends this process; RESUME goes on from here.
    (S.REBOOT_REPORT,           E.DONE):    S.REBOOT_ENTER,
    (S.REBOOT_REPORT,           E.ABORTED): S.CHECK_ROLLBACK,
    (S.REBOOT_ENTER,            E.DONE):    S.REBOOT,
    (S.REBOOT_ENTER,            E.FAILED):  S.REBOOT_ERROR,
    (S.REBOOT_ENTER,            E.LOOPED):  S.LOOP,
    (S.REBOOT,                  E.DONE):    S.VERIFY_REBOOT,
    (S.REBOOT,                  E.FAILED):  S.REBOOT_ERROR,
    (S.VERIFY_REBOOT,           E.DONE):    S.REBOOT_LEAVE,
    (S.VERIFY_REBOOT,           E.FAILED):  S.REBOOT_ERROR,
    (S.VERIFY_REBOOT,           E.LOOPED):  S.LOOP,
    # An unexpected start on trial: whether that may be is a matter of policy.
    (S.CHECK_TRIAL,             E.DONE):    S.VERIFY_REBOOT,
    (S.CHECK_TRIAL,             E.FAILED):  S.CHECK_ROLLBACK,
    (S.REBOOT_LEAVE,            E.DONE):    S.COMMIT_REPORT,
    (S.REBOOT_LEAVE,            E.FAILED):  S.REBOOT_ERROR,
    (S.REBOOT_ERROR,            E.DONE):    S.CHECK_ROLLBACK,
    # The server must have heard from the new system before it is kept.
    (S.COMMIT_REPORT,           E.DONE):    S.COMMIT_ENTER,
    (S.COMMIT_REPORT,           E.FAILED):  S.CHECK_ROLLBACK,
    (S.COMMIT_REPORT,           E.ABORTED): S.CHECK_ROLLBACK,
    (S.COMMIT_ENTER,            E.DONE):    S.COMMIT,
    (S.COMMIT_ENTER,            E.FAILED):  S.COMMIT_ERROR,
    (S.COMMIT_ENTER,            E.LOOPED):  S.LOOP,
    (S.COMMIT,                  E.DONE):    S.AFTER_COMMIT,
    (S.COMMIT,                  E.FAILED):  S.COMMIT_ERROR,
    (S.COMMIT,                  E.UNSURE):  S.CHECK_COMMIT,     # it may have been made all the same
    (S.COMMIT_ERROR,            E.DONE):    S.CHECK_ROLLBACK,
    # Something failed around the commit: what was installed knows whether it was made.
    (S.CHECK_COMMIT,            E.DONE):    S.AFTER_COMMIT,
    (S.CHECK_COMMIT,            E.AGAIN):   S.VERIFY_REBOOT,
    (S.CHECK_COMMIT,            E.FAILED):  S.CHECK_ROLLBACK,
    # From here on the update is kept, whatever happens.
    (S.AFTER_COMMIT,            E.DONE):    S.COMMIT_LEAVE,
    (S.AFTER_COMMIT,            E.FAILED):  S.COMMIT_LEAVE_ERROR,
    (S.AFTER_COMMIT,            E.LOOPED):  S.SAVE_PROVIDES,
    (S.COMMIT_LEAVE,            E.DONE):    S.SAVE_PROVIDES,
    (S.COMMIT_LEAVE,            E.FAILED):  S.COMMIT_LEAVE_ERROR,
    (S.COMMIT_LEAVE_ERROR,      E.DONE):    S.SAVE_PROVIDES,
    (S.SAVE_PROVIDES,           E.DONE):    S.CLEANUP,
    # Rollback.
    (S.CHECK_ROLLBACK,          E.DONE):    S.ROLLBACK_ENTER,
    (S.CHECK_ROLLBACK,          E.NOTHING): S.FAILURE_ENTER,
    (S.CHECK_ROLLBACK,          E.FAILED):  S.FAILURE_ENTER,
    (S.ROLLBACK_ENTER,          E.DONE):    S.ROLLBACK,
    (S.ROLLBACK_ENTER,          E.FAILED):  S.ROLLBACK,
    (S.ROLLBACK_ENTER,          E.LOOPED):  S.LOOP,
    (S.ROLLBACK,                E.DONE):    S.ROLLBACK_LEAVE,
    (S.ROLLBACK,                E.FAILED):  S.ROLLBACK_LEAVE_ERROR,
    (S.ROLLBACK_LEAVE,          E.DONE):    S.CHECK_ROLLBACK_REBOOT,
    (S.ROLLBACK_LEAVE,          E.FAILED):  S.CHECK_ROLLBACK_REBOOT,
    (S.ROLLBACK_LEAVE_ERROR,    E.DONE):    S.FAILURE_ENTER,
    (S.ROLLBACK_LEAVE_ERROR,    E.FAILED):  S.FAILURE_ENTER,
    (S.CHECK_ROLLBACK_REBOOT,   E.DONE):    S.ROLLBACK_REBOOT_ENTER,
    (S.CHECK_ROLLBACK_REBOOT,   E.NOTHING): S.ROLLED_BACK,
    (S.CHECK_ROLLBACK_REBOOT,   E.FAILED):  S.FAILURE_ENTER,
    (S.ROLLBACK_REBOOT_ENTER,   E.DONE):    S.ROLLBACK_REBOOT,
    (S.ROLLBACK_REBOOT_ENTER,   E.FAILED):  S.ROLLBACK_REBOOT,
    (S.ROLLBACK_REBOOT_ENTER,   E.LOOPED):  S.LOOP,
    (S.ROLLBACK_REBOOT,         E.DONE):    S.VERIFY_ROLLBACK,
    (S.VERIFY_ROLLBACK,         E.DONE):    S.ROLLBACK_REBOOT_LEAVE,
    (S.VERIFY_ROLLBACK,         E.AGAIN):   S.ROLLBACK_REBOOT,
    (S.VERIFY_ROLLBACK,         E.LOOPED):  S.LOOP,
    (S.ROLLBACK_REBOOT_LEAVE,   E.DONE):    S.ROLLED_BACK,
    (S.ROLLBACK_REBOOT_LEAVE,   E.FAILED):  S.ROLLBACK_REBOOT_ERROR,
    (S.ROLLBACK_REBOOT_ERROR,   E.DONE):    S.FAILURE_ENTER,
    (S.ROLLED_BACK,             E.DONE):    S.FAILURE_ENTER,
    (S.FAILURE_ENTER,           E.DONE):    S.FAILURE,
    (S.FAILURE_ENTER,           E.FAILED):  S.FAILURE,
    (S.FAILURE_ENTER,           E.LOOPED):  S.LOOP,
    (S.FAILURE,                 E.DONE):    S.FAILURE_LEAVE,
    (S.FAILURE,                 E.FAILED):  S.FAILURE_LEAVE,
    (S.FAILURE,                 E.LOOPED):  S.LOOP,
    (S.FAILURE_LEAVE,           E.DONE):    S.SAVE_PROVIDES,
    (S.FAILURE_LEAVE,           E.FAILED):  S.SAVE_PROVIDES,
    # The end: the outcome is stored, so it is not forgotten.
    (S.CLEANUP,                 E.DONE):    S.REPORT,
    (S.CLEANUP,                 E.FAILED):  S.REPORT,
    (S.CLEANUP,                 E.LOOPED):  S.REPORT,
    (S.LOOP,                    E.DONE):    S.REPORT,
    (S.REPORT,                  E.DONE):    S.IDLE,
}


@dataclass(frozen=True)
class Resume:
    """Where to go on, and what has become of the update by then, if that is not what was stored."""

    step: Step
    outcome: Outcome | None = None


# Where to go on after an unexpected start, by the stored name; a name that is not here rolls back.
RESUME: dict[str, Resume] = {
    "update-fetch":             Resume(S.IDLE),             # nothing was begun, and the server knows nothing of it
    "update-store":             Resume(S.CHECK_DOWNLOAD),   # nothing was flipped
    "update-after-store":       Resume(S.NOT_NEEDED),
    "update-install":           Resume(S.CHECK_INSTALL),    # a cut after the flip is as good as the reboot
    "reboot":                   Resume(S.VERIFY_REBOOT),    # the usual way
    "after-reboot":             Resume(S.CHECK_TRIAL),
    "update-commit":            Resume(S.CHECK_COMMIT),     # a commit that was made is never reported as a failure
    "update-after-commit":      Resume(S.AFTER_COMMIT),
    "update-after-first-commit": Resume(S.AFTER_COMMIT),
    "rollback":                 Resume(S.ROLLBACK_ENTER),
    "rollback-reboot":          Resume(S.VERIFY_ROLLBACK),
    "after-rollback-reboot":    Resume(S.VERIFY_ROLLBACK),
    "verify-rollback-reboot":   Resume(S.VERIFY_ROLLBACK),
    "update-error":             Resume(S.FAILURE_ENTER),
    "cleanup":                  Resume(S.CLEANUP),
    "update-status-report":     Resume(S.REPORT),
}
# fmt: on
ROLL_BACK = Resume(S.CHECK_ROLLBACK, Outcome.FAILED)
REBOOTING = frozenset({"reboot", "rollback-reboot", "after-rollback-reboot"})  # a start after these is expected


@dataclass(frozen=True)
class Dialect:
    """One generation's rules.

    `limit` is how often an update may be stored before it counts as going in circles; `costs` says how much a step
    counts where that is not one for each that is stored, and `start_cost` what an unexpected start counts.
    """

    name: str
    transitions: Mapping[tuple[Step, Event], Step]
    limit: int
    start_cost: int
    first: Step = S.DOWNLOAD_REPORT
    costs: Mapping[Step, int] = field(default_factory=lambda: {S.ROLLBACK_REBOOT: 0})
    stored: Mapping[Step, str] = field(default_factory=lambda: STORED)
    resume: Mapping[str, Resume] = field(default_factory=lambda: RESUME)
    neutral: frozenset[Step] = NEUTRAL
    scripts_ignored: frozenset[str] = frozenset()  # states whose Enter and Leave scripts may fail
    asks_for_sizes: bool = True
    posts_to_v1: bool = False  # asks servers without the newer route by POST before it asks by GET
    reboots: bool = True  # by itself; otherwise a person does, and nobody looks afterwards
    strict_scripts: bool = False  # the version file is required, and every script must be executable


CPP = Dialect("cpp", TRANSITIONS, limit=28, start_cost=1)
# fmt: off
GO34 = Dialect(
    "go34",
    {
        **TRANSITIONS,
        # Statuses are sent inside a state, after its Enter scripts.
        (S.DOWNLOAD_ENTER,      E.DONE):    S.DOWNLOAD_REPORT,
        (S.DOWNLOAD_ENTER,      E.FAILED):  S.DOWNLOAD_ERROR_UNTOLD,
        (S.DOWNLOAD_ERROR_UNTOLD, E.DONE):  S.IDLE,     # the deployment stays pending and is tried again
        (S.DOWNLOAD_REPORT,     E.DONE):    S.HEADER,
        (S.INSTALL_ENTER,       E.DONE):    S.INSTALL_REPORT,
        (S.INSTALL_REPORT,      E.DONE):    S.INSTALL,
        (S.INSTALL_REPORT,      E.ABORTED): S.INSTALL_ERROR,
        (S.REBOOT_ENTER,        E.DONE):    S.REBOOT_REPORT,
        (S.REBOOT_REPORT,       E.DONE):    S.REBOOT,
        (S.REBOOT_REPORT,       E.ABORTED): S.REBOOT_ERROR,
        (S.COMMIT_ENTER,        E.DONE):    S.COMMIT_REPORT,
        (S.COMMIT_REPORT,       E.DONE):    S.COMMIT,
        (S.COMMIT_REPORT,       E.FAILED):  S.COMMIT_ERROR,
        (S.COMMIT_REPORT,       E.ABORTED): S.COMMIT_ERROR,
        (S.DOWNLOAD_LEAVE,      E.DONE):    S.INSTALL_ENTER,
        (S.CHECK_REBOOT,        E.DONE):    S.REBOOT_ENTER,
        (S.CHECK_REBOOT,        E.NOTHING): S.COMMIT_ENTER,
        (S.REBOOT_LEAVE,        E.DONE):    S.COMMIT_ENTER,
        # The payload is asked as soon as it can answer.
        (S.DOWNLOAD,            E.DONE):    S.ASK_ROLLBACK,
        (S.ASK_ROLLBACK,        E.DONE):    S.DOWNLOAD_LEAVE,
        (S.ASK_ROLLBACK,        E.FAILED):  S.DOWNLOAD_ERROR,
        (S.INSTALL,             E.DONE):    S.ASK_REBOOT,
        (S.ASK_REBOOT,          E.DONE):    S.INSTALL_LEAVE,
        (S.ASK_REBOOT,          E.FAILED):  S.INSTALL_ERROR,
        (S.ROLLBACK,            E.DONE):    S.ASK_REBOOT_BACK,
        (S.ASK_REBOOT_BACK,     E.DONE):    S.ROLLBACK_LEAVE,
        (S.ASK_REBOOT_BACK,     E.FAILED):  S.ROLLBACK_LEAVE_ERROR,
        # A rollback that is not verified reboots with its scripts.
        (S.VERIFY_ROLLBACK,     E.AGAIN):   S.ROLLBACK_REBOOT_LEAVE_AGAIN,
        (S.ROLLBACK_REBOOT_LEAVE_AGAIN, E.DONE): S.ROLLBACK_REBOOT_ENTER,
        # What goes in circles is left before it is given up.
        (S.VERIFY_ROLLBACK,     E.LOOPED):  S.LOOP_REBOOT_LEAVE,
        (S.LOOP_REBOOT_LEAVE,   E.DONE):    S.LOOP,
        (S.FAILURE_ENTER,       E.LOOPED):  S.LOOP_FAILURE_LEAVE,
        (S.LOOP_FAILURE_LEAVE,  E.DONE):    S.LOOP,
    },
    limit=30,
    start_cost=0,
    first=S.DOWNLOAD_ENTER,
    costs={S.DOWNLOAD_LEAVE: 1, S.INSTALL_LEAVE: 0, S.ROLLBACK_REBOOT: 0, S.ROLLED_BACK: 2, S.FAILURE: 0},
    stored={**STORED, S.DOWNLOAD_ENTER: "update-fetch", S.INSTALL_LEAVE: "update-install"},
    neutral=NEUTRAL | {S.FAILURE},
    scripts_ignored=frozenset({"ArtifactRollback", "ArtifactRollbackReboot", "ArtifactFailure"}),
    asks_for_sizes=False,
    posts_to_v1=True,
    strict_scripts=True,
)
# fmt: on
DIALECTS = {dialect.name: dialect for dialect in (CPP, GO34)}


def resume(dialect: Dialect, stored: str, outcome: Outcome, *, controlled: bool = False) -> tuple[Step, Outcome]:
    """Where to go on when an update's record says `stored`, and what has become of it by then.

    `controlled`: an older client had the update wait for the server at certain points, which is not known here, so
    nobody may say that it was to go on.
    """
    found = dialect.resume.get(stored, ROLL_BACK)
    if controlled and found.step is S.VERIFY_REBOOT:
        found = Resume(S.REBOOT_ERROR, Outcome.FAILED)
    return found.step, outcome if found.outcome is None else found.outcome
