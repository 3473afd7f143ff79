# SPDX-License-Identifier: Apache-2.0
"""The steps of an update: what each one does, and under which name it is stored before it does it.

A stored name means: this work may have begun, and may have been done in part or whole.  The names are Mender's, so
that one client can take over from the other.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """One step each; its value is what marks and logs call it."""

    IDLE = "idle"
    DOWNLOAD_REPORT = "download-report"
    DOWNLOAD_ENTER = "download-enter"
    HEADER = "header"
    DOWNLOAD = "download"
    CHECK_DOWNLOAD = "check-download"
    RESUME_REPORT = "resume-report"
    ASK_ROLLBACK = "ask-rollback"
    DOWNLOAD_LEAVE = "download-leave"
    DOWNLOAD_LEAVE_EMPTY = "download-leave-empty"
    DOWNLOAD_ERROR = "download-error"
    DOWNLOAD_ERROR_UNTOLD = "download-error-untold"
    NOT_NEEDED = "nothing-to-roll-back"
    HOLD_INSTALL = "hold-install"
    INSTALL_REPORT = "install-report"
    INSTALL_ENTER = "install-enter"
    INSTALL = "install"
    ASK_REBOOT = "ask-reboot"
    INSTALL_LEAVE = "install-leave"
    INSTALL_ERROR = "install-error"
    CHECK_INSTALL = "check-install"
    CHECK_REBOOT = "check-reboot"
    REBOOT_REPORT = "reboot-report"
    REBOOT_ENTER = "reboot-enter"
    REBOOT = "reboot"
    VERIFY_REBOOT = "verify-reboot"
    CHECK_TRIAL = "check-trial"
    REBOOT_LEAVE = "reboot-leave"
    REBOOT_ERROR = "reboot-error"
    DECIDE = "decide"
    AWAIT_COMMIT = "await-commit"
    HOLD_COMMIT = "hold-commit"
    COMMIT_REPORT = "commit-report"
    COMMIT_ENTER = "commit-enter"
    COMMIT = "commit"
    CHECK_COMMIT = "check-commit"
    COMMIT_ERROR = "commit-error"
    AFTER_COMMIT = "after-commit"
    HOLD_COMMIT_LEAVE = "hold-commit-leave"
    COMMIT_LEAVE = "commit-leave"
    COMMIT_LEAVE_ERROR = "commit-leave-error"
    SAVE_PROVIDES = "save-provides"
    CHECK_ROLLBACK = "check-rollback"
    ROLLBACK_ENTER = "rollback-enter"
    ROLLBACK = "rollback"
    ASK_REBOOT_BACK = "ask-reboot-back"
    ROLLBACK_LEAVE = "rollback-leave"
    ROLLBACK_LEAVE_ERROR = "rollback-leave-error"
    CHECK_ROLLBACK_REBOOT = "check-rollback-reboot"
    ROLLBACK_REBOOT_ENTER = "rollback-reboot-enter"
    ROLLBACK_REBOOT = "rollback-reboot"
    VERIFY_ROLLBACK = "verify-rollback"
    ROLLBACK_REBOOT_LEAVE = "rollback-reboot-leave"
    ROLLBACK_REBOOT_LEAVE_AGAIN = "rollback-reboot-leave-again"
    ROLLBACK_REBOOT_ERROR = "rollback-reboot-error"
    ROLLED_BACK = "rolled-back"
    FAILURE_ENTER = "failure-enter"
    FAILURE = "failure"
    FAILURE_LEAVE = "failure-leave"
    CLEANUP = "cleanup"
    LOOP_REBOOT_LEAVE = "loop-reboot-leave"
    LOOP_FAILURE_LEAVE = "loop-failure-leave"
    LOOP = "loop"
    REPORT = "report"


class Event(StrEnum):
    """How a step ended."""

    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"  # the server has taken the deployment back
    NOTHING = "nothing"  # there is nothing to do here: no payload, no reboot, no rollback
    UNSURE = "unsure"  # it may have happened all the same, and has to be looked at
    AGAIN = "again"  # the same once more
    LOOPED = "looped"  # the update goes in circles


class Outcome(StrEnum):
    """What has become of an update so far."""

    GOOD = ""
    FAILED = "failed"
    ROLLED_BACK = "rolled-back"  # failed, and the device is as it was before, or is on the way there
    BROKEN = "rollback-failed"


@dataclass(frozen=True)
class Script:
    """The state scripts of one transition: `state` as in their file names, `moment` Enter, Leave or Error."""

    state: str
    moment: str


@dataclass(frozen=True)
class Call:
    """A state of the update module protocol that is done by whatever installs the payload."""

    state: str


@dataclass(frozen=True)
class Report:
    """A status for the server; `must`: the update fails if it is not heard."""

    status: str
    must: bool = False


@dataclass(frozen=True)
class Do:
    """Work of the client's own: a method of the actions."""

    method: str


Work = Script | Call | Report | Do
S = Step
# fmt: off
WORK: dict[Step, Work] = {
    S.DOWNLOAD_REPORT:              Report("downloading"),
    S.DOWNLOAD_ENTER:               Script("Download", "Enter"),
    S.HEADER:                       Do("read_header"),
    S.DOWNLOAD:                     Do("download"),
    S.CHECK_DOWNLOAD:               Do("check_download"),
    S.RESUME_REPORT:                Report("downloading"),
    S.ASK_ROLLBACK:                 Do("ask_rollback"),
    S.DOWNLOAD_LEAVE:               Script("Download", "Leave"),
    S.DOWNLOAD_LEAVE_EMPTY:         Script("Download", "Leave"),
    S.DOWNLOAD_ERROR:               Script("Download", "Error"),
    S.DOWNLOAD_ERROR_UNTOLD:        Script("Download", "Error"),
    S.NOT_NEEDED:                   Do("nothing"),
    S.HOLD_INSTALL:                 Do("nothing"),
    S.INSTALL_REPORT:               Report("installing"),
    S.INSTALL_ENTER:                Script("ArtifactInstall", "Enter"),
    S.INSTALL:                      Call("ArtifactInstall"),
    S.ASK_REBOOT:                   Do("ask_reboot"),
    S.INSTALL_LEAVE:                Script("ArtifactInstall", "Leave"),
    S.INSTALL_ERROR:                Script("ArtifactInstall", "Error"),
    S.CHECK_INSTALL:                Do("check_install"),
    S.CHECK_REBOOT:                 Do("check_reboot"),
    S.REBOOT_REPORT:                Report("rebooting"),
    S.REBOOT_ENTER:                 Script("ArtifactReboot", "Enter"),
    S.REBOOT:                       Do("reboot"),
    S.VERIFY_REBOOT:                Call("ArtifactVerifyReboot"),
    S.CHECK_TRIAL:                  Do("check_trial"),
    S.REBOOT_LEAVE:                 Script("ArtifactReboot", "Leave"),
    S.REBOOT_ERROR:                 Script("ArtifactReboot", "Error"),
    S.DECIDE:                       Do("check_rollback"),
    S.AWAIT_COMMIT:                 Do("nothing"),
    S.HOLD_COMMIT:                  Do("nothing"),
    S.COMMIT_REPORT:                Report("installing", must=True),
    S.COMMIT_ENTER:                 Script("ArtifactCommit", "Enter"),
    S.COMMIT:                       Do("commit"),
    S.CHECK_COMMIT:                 Do("check_commit"),
    S.COMMIT_ERROR:                 Script("ArtifactCommit", "Error"),
    S.AFTER_COMMIT:                 Do("after_commit"),
    S.HOLD_COMMIT_LEAVE:            Do("nothing"),
    S.COMMIT_LEAVE:                 Script("ArtifactCommit", "Leave"),
    S.COMMIT_LEAVE_ERROR:           Script("ArtifactCommit", "Error"),
    S.SAVE_PROVIDES:                Do("save_provides"),
    S.CHECK_ROLLBACK:               Do("check_rollback"),
    S.ROLLBACK_ENTER:               Script("ArtifactRollback", "Enter"),
    S.ROLLBACK:                     Do("rollback"),
    S.ASK_REBOOT_BACK:              Do("ask_reboot_again"),
    S.ROLLBACK_LEAVE:               Script("ArtifactRollback", "Leave"),
    S.ROLLBACK_LEAVE_ERROR:         Script("ArtifactRollback", "Leave"),
    S.CHECK_ROLLBACK_REBOOT:        Do("check_rollback_reboot"),
    S.ROLLBACK_REBOOT_ENTER:        Script("ArtifactRollbackReboot", "Enter"),
    S.ROLLBACK_REBOOT:              Do("rollback_reboot"),
    S.VERIFY_ROLLBACK:              Do("verify_rollback"),
    S.ROLLBACK_REBOOT_LEAVE:        Script("ArtifactRollbackReboot", "Leave"),
    S.ROLLBACK_REBOOT_LEAVE_AGAIN:  Script("ArtifactRollbackReboot", "Leave"),
    S.ROLLBACK_REBOOT_ERROR:        Script("ArtifactRollbackReboot", "Error"),
    S.ROLLED_BACK:                  Do("nothing"),
    S.FAILURE_ENTER:                Script("ArtifactFailure", "Enter"),
    S.FAILURE:                      Call("ArtifactFailure"),
    S.FAILURE_LEAVE:                Script("ArtifactFailure", "Leave"),
    S.CLEANUP:                      Do("cleanup"),
    S.LOOP_REBOOT_LEAVE:            Script("ArtifactRollbackReboot", "Leave"),
    S.LOOP_FAILURE_LEAVE:           Script("ArtifactFailure", "Leave"),
    S.LOOP:                         Do("give_up"),
    S.REPORT:                       Do("report"),
}

# Stored before the work, so that an unexpected start knows where to go on; the other steps follow from these.
STORED: dict[Step, str] = {
    S.DOWNLOAD_ENTER:               "update-store",
    S.DOWNLOAD:                     "update-store",         # by now it is known what the artifact is
    S.INSTALL_ENTER:                "update-install",
    S.REBOOT_ENTER:                 "reboot",
    S.VERIFY_REBOOT:                "after-reboot",
    S.COMMIT_ENTER:                 "update-commit",
    S.AFTER_COMMIT:                 "update-after-commit",
    S.ROLLBACK_ENTER:               "rollback",
    S.ROLLBACK_REBOOT_ENTER:        "rollback-reboot",
    S.ROLLBACK_REBOOT:              "rollback-reboot",      # again, with what has become of its scripts
    S.VERIFY_ROLLBACK:              "after-rollback-reboot",
    S.FAILURE_ENTER:                "update-error",
    S.FAILURE:                      "update-error",
    S.CLEANUP:                      "cleanup",              # with what the device now provides, in one write
    S.REPORT:                       "update-status-report",
}
# fmt: on
# What is done even if it cannot be stored: a device that cannot write must still get back to what it was, and what
# is kept stays kept.
CARRY_ON = frozenset(
    {
        S.AFTER_COMMIT,
        S.ROLLBACK_ENTER,
        S.ROLLBACK_REBOOT_ENTER,
        S.ROLLBACK_REBOOT,
        S.VERIFY_ROLLBACK,
        S.FAILURE_ENTER,
        S.FAILURE,
        S.CLEANUP,
        S.REPORT,
    }
)
# Failures that say nothing about the update itself.
NEUTRAL = frozenset({S.CLEANUP, S.REPORT, S.VERIFY_ROLLBACK, S.ROLLBACK_REBOOT})


def track(outcome: Outcome, step: Step, event: Event, neutral: Set[Step] = NEUTRAL) -> Outcome:
    """What has become of an update after `step` ended with `event`; failures of `neutral` steps say nothing."""
    if step is S.LOOP:
        return Outcome.BROKEN
    if step is S.NOT_NEEDED or (step is S.CHECK_ROLLBACK and event is Event.DONE):
        return Outcome.ROLLED_BACK
    if event not in (Event.FAILED, Event.ABORTED) or step in neutral:
        return outcome
    return {Outcome.GOOD: Outcome.FAILED, Outcome.ROLLED_BACK: Outcome.BROKEN}.get(outcome, outcome)
