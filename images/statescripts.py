# SPDX-License-Identifier: Apache-2.0
"""State scripts that write down that they ran and then do as they are told, so that one image serves every story.

What a script is to do lies on the data partition under its name; without that it succeeds.
"""

from __future__ import annotations

from images.ext4 import Edit

PLACE = "/data/state-scripts"  # without this directory no script does anything
RAN = f"{PLACE}/ran"  # the names of those that ran, one a line
DOES = f"{PLACE}/does"  # what each is to do, as shell commands
ROOTFS_PLACE = "/etc/mender/scripts"
FIRST = "_00"
SECOND = "_05_second"  # runs after the first of its transition
BODY = f"""#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes down that it ran, so that a loss of power does not take it back, and does what {DOES} says.
name=${{0##*/}}
[ -d {DOES} ] || exit 0
echo "$name" >>{RAN}
sync
[ ! -e "{DOES}/$name" ] || . "{DOES}/$name"
""".encode()
MOMENTS = {
    "Idle": ("Enter", "Leave"),
    "Sync": ("Enter", "Leave", "Error"),
    "Download": ("Enter", "Leave", "Error"),
    "ArtifactInstall": ("Enter", "Leave", "Error"),
    "ArtifactReboot": ("Enter", "Leave", "Error"),
    "ArtifactCommit": ("Enter", "Leave", "Error"),
    "ArtifactRollback": ("Enter", "Leave"),
    "ArtifactRollbackReboot": ("Enter", "Leave"),
    "ArtifactFailure": ("Enter", "Leave"),
}
OF_ROOTFS = ("Idle", "Sync", "Download")


def artifact_scripts() -> dict[str, bytes]:
    """One of every transition that an artifact may have scripts for, and a second one of some."""
    names = [f"{state}_{moment}{FIRST}" for state in MOMENTS if state not in OF_ROOTFS for moment in MOMENTS[state]]
    return dict.fromkeys(sorted([*names, f"ArtifactInstall_Enter{SECOND}"]), BODY)


def rootfs_scripts(version: str = "3") -> list[Edit]:
    """One of every transition that a root file system may have scripts for; `version` is of their format."""
    names = [f"{state}_{moment}{FIRST}" for state in OF_ROOTFS for moment in MOMENTS[state]]
    scripts = [Edit(f"{ROOTFS_PLACE}/{name}", BODY, 0o755) for name in [*names, f"Download_Enter{SECOND}"]]
    return [Edit(f"{ROOTFS_PLACE}/version", version.encode(), makes_directory=True), *scripts]
