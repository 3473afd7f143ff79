# SPDX-License-Identifier: Apache-2.0
"""State scripts around an update: their order, and what becomes of the update if one of them fails.

The sets are those of Mender's own integration tests.  A script writes down that it ran; its order is compared whole.
"""

import allure

from harness.lab import Lab
from harness.lab.scripts import (
    COMMITTED,
    FAILED,
    FETCHED,
    INSTALLED,
    REBOOTED,
    REBOOTED_BACK,
    ROLLED_BACK,
    ROUND,
    ROUNDS,
    StateScripts,
)

PATIENT = {"ParkAfterFailures": 1000}  # an artifact that fails again and again is tried again here


def scripted(lab: Lab) -> StateScripts:
    """The board runs a version with scripts."""
    lab.deploy("scripted-b")
    lab.claim("new", did="No cut: state scripts come to the board")
    lab.configure(Bootproof=PATIENT)
    scripts = StateScripts(lab)
    scripts.begin()
    return scripts


@allure.severity(allure.severity_level.CRITICAL)
def test_state_scripts_in_order(lab: Lab) -> None:
    """Every script runs once and in its place; one that fails around Idle or Sync costs at most that round."""
    scripts = scripted(lab)
    lab.deploy("scripted-c")
    lab.claim("new", did="No cut: all scripts succeed")
    scripts.claim(FETCHED, INSTALLED, REBOOTED, COMMITTED)

    scripts.begin()
    for name in ("Idle_Enter", "Idle_Leave"):
        scripts.does(name, "exit 1")
    lab.deploy("scripted-b")
    lab.claim("new", did="No cut: Idle scripts fail")
    scripts.claim(FETCHED, INSTALLED, REBOOTED, COMMITTED)

    for script, version, skipped in (
        ("Sync_Enter", "scripted-c", "(Idle_Enter Idle_Leave Sync_Enter Sync_Error )"),
        ("Sync_Leave", "scripted-b", "(Idle_Enter Idle_Leave Sync_Enter Sync_Leave Sync_Error )"),
    ):
        scripts.begin()
        scripts.does(script, "exit 1")
        scripts.wait_for("Sync_Error", 1)  # a round that was under way may still have found the deployment
        lab.deploy(version)
        scripts.wait_for("Sync_Error", 4)
        scripts.does(script, "exit 0")
        lab.claim("new", did=f"No cut: {script} fails for some rounds")
        scripts.claim(FETCHED, INSTALLED, REBOOTED, COMMITTED, before=f"{ROUNDS}{skipped}{{2,}}{ROUND}+")


@allure.severity(allure.severity_level.CRITICAL)
def test_state_scripts_that_fail(lab: Lab) -> None:
    """Before the commit a failure ends on the old version; after it, on the new one under a name that says so."""
    scripts = scripted(lab)
    scripts.does("Download_Enter", "exit 1")
    lab.deploy("scripted-c")
    lab.claim("old", did="No cut: Download_Enter fails")
    scripts.claim("Download_Enter Download_Error")

    scripts.begin()
    scripts.does("Download_Leave", "exit 1")
    lab.deploy("scripted-c")
    lab.claim("old", did="No cut: Download_Leave fails")
    scripts.claim(FETCHED, "Download_Error")

    scripts.begin()
    scripts.does("ArtifactInstall_Enter", "exit 1")
    lab.deploy("scripted-c")
    lab.claim("old", did="No cut: ArtifactInstall_Enter fails")
    scripts.claim(FETCHED, "ArtifactInstall_Enter ArtifactInstall_Error", ROLLED_BACK, FAILED)

    scripts.begin()
    scripts.does("ArtifactCommit_Enter", "exit 1")
    lab.deploy("scripted-c")
    lab.claim("old", did="No cut: ArtifactCommit_Enter fails")
    scripts.claim(
        FETCHED, INSTALLED, REBOOTED, "ArtifactCommit_Enter ArtifactCommit_Error", ROLLED_BACK, REBOOTED_BACK, FAILED
    )

    scripts.begin()
    scripts.does("ArtifactCommit_Leave", "exit 1")
    lab.deploy("scripted-c")
    lab.claim("inconsistent", did="No cut: ArtifactCommit_Leave fails")
    scripts.claim(FETCHED, INSTALLED, REBOOTED, COMMITTED, "ArtifactCommit_Error")
    lab.soft_reboot()
    lab.wait_up()
    lab.wait_poll()
    lab.claim_slot("a", holds="scripted-c")
    lab.claim_runs("scripted-c")


@allure.severity(allure.severity_level.NORMAL)
def test_state_scripts_that_take_their_time(lab: Lab) -> None:
    """One that hangs is ended; one that asks for another try gets it, but not for ever."""
    scripts = scripted(lab)
    lab.configure(StateScriptTimeoutSeconds=5, StateScriptRetryIntervalSeconds=1, StateScriptRetryTimeoutSeconds=8)
    scripts.does("ArtifactInstall_Leave", "sleep 3600")
    lab.deploy("scripted-c")
    lab.claim_refused("ArtifactInstall_Leave_00", did="No cut: ArtifactInstall_Leave hangs")
    scripts.claim(FETCHED, INSTALLED, "ArtifactInstall_Error", ROLLED_BACK, FAILED)

    scripts.begin()
    scripts.does("ArtifactInstall_Enter", "exit 21")
    lab.deploy("scripted-c")
    lab.claim_refused("asked for another try", did="No cut: ArtifactInstall_Enter asks for another try for ever")
    scripts.claim(FETCHED, "(ArtifactInstall_Enter ){2,9}ArtifactInstall_Error", ROLLED_BACK, FAILED)

    scripts.begin()
    scripts.does("ArtifactInstall_Enter", "exit 21", times=2)
    lab.deploy("scripted-c")
    lab.claim("new", did="No cut: ArtifactInstall_Enter asks for another try twice")
    scripts.claim(FETCHED, "ArtifactInstall_Enter ArtifactInstall_Enter", INSTALLED, REBOOTED, COMMITTED)


@allure.severity(allure.severity_level.NORMAL)
def test_state_scripts_of_another_version(lab: Lab) -> None:
    """Scripts that nobody here understands are not run: the new version is not kept, the old one goes back."""
    scripts = scripted(lab)
    lab.deploy("scripts-unknown")
    lab.claim_undone(did="No cut: /etc/mender/scripts are of an unknown version")
    scripts.claim(
        FETCHED, INSTALLED, REBOOTED, "ArtifactCommit_Enter ArtifactCommit_Error", ROLLED_BACK, REBOOTED_BACK, FAILED
    )

    scripts.begin()
    scripts.does("Download_Leave", "echo 1000 >/var/lib/mender/scripts/version")
    lab.deploy("scripted-c")
    lab.claim_refused("1000", did="No cut: the artifact's scripts are of an unknown version")
    scripts.claim(FETCHED)


@allure.severity(allure.severity_level.CRITICAL)
def test_reset_in_a_state_script(lab: Lab) -> None:
    """A reset in a script ends on the old version before the commit and on the new one after it."""
    scripts = scripted(lab)
    scripts.resets_the_board("ArtifactInstall_Enter")
    lab.deploy("scripted-c")
    lab.claim("old", did="Reset in ArtifactInstall_Enter")
    scripts.claim(FETCHED, "ArtifactInstall_Enter", ROLLED_BACK, FAILED)

    scripts.begin()
    scripts.resets_the_board("ArtifactCommit_Enter")
    lab.deploy("scripted-c")
    lab.claim_undone("Bootlimit .* exceeded", did="Reset in ArtifactCommit_Enter")
    scripts.claim(FETCHED, INSTALLED, REBOOTED, "ArtifactCommit_Enter", ROLLED_BACK, FAILED)

    scripts.begin()
    scripts.resets_the_board("ArtifactCommit_Leave")
    lab.deploy("scripted-c")
    lab.claim("new", did="Reset in ArtifactCommit_Leave")
    scripts.claim(FETCHED, INSTALLED, REBOOTED, COMMITTED, "ArtifactCommit_Leave")
