# SPDX-License-Identifier: Apache-2.0
"""What a trace is made of: an update module's states, the queries to it, the state scripts; and their short names."""

from types import MappingProxyType

STATES = MappingProxyType(
    {
        "D": "Download",
        "Ds": "DownloadWithFileSizes",
        "Pf": "ProvidePayloadFileSizes",
        "I": "ArtifactInstall",
        "R": "ArtifactReboot",
        "V": "ArtifactVerifyReboot",
        "C": "ArtifactCommit",
        "B": "ArtifactRollback",
        "BR": "ArtifactRollbackReboot",
        "BV": "ArtifactVerifyRollbackReboot",
        "F": "ArtifactFailure",
        "X": "Cleanup",
        "?s": "SupportsRollback",
        "?r": "NeedsArtifactReboot",
    }
)
MOMENTS = MappingProxyType({"+": "Enter", "-": "Leave", "!": "Error"})
ROOTFS_SCRIPTS = MappingProxyType({"Idle": "Idle", "Sync": "Sync", "D": "Download"})
ARTIFACT_SCRIPTS = MappingProxyType({short: STATES[short] for short in ("I", "R", "C", "B", "BR", "F")})

_SCRIPTS = {
    short + sign: f"{state}_{moment}"
    for short, state in {**ROOTFS_SCRIPTS, **ARTIFACT_SCRIPTS}.items()
    for sign, moment in MOMENTS.items()
}
STEPS = MappingProxyType({**STATES, **_SCRIPTS})
"""Short name to the name that module and scripts write into the journal."""
SHORT = MappingProxyType({name: short for short, name in STEPS.items()})
QUERIES = frozenset({"?s", "?r"})


def step_named(word: str) -> str | None:
    """The step meant by a short name or by a module state's full name."""
    return STEPS.get(word) or (word if word in STATES.values() else None)


def around_updates(short: str) -> bool:
    """Whether a step belongs to the daemon's waiting rather than to an update."""
    return short.startswith(("Idle", "Sync"))
