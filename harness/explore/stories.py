# SPDX-License-Identifier: Apache-2.0
"""Which updates can be recorded: what comes before the recording begins, and how it ends when nothing is cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.errors import UsageError
from harness.explore.replaced import Replaced
from harness.faults.power import writes
from harness.lab import Lab
from harness.lab.operator import Operator
from harness.lab.scripts import StateScripts


@dataclass(frozen=True)
class Story:
    """`begin` has the update ordered, and leaves the board held or switched off until it is followed.

    Attributes:
        ends: which of the two runs, or is installed, in the end.
        by_hand: no server orders it; a person installs, reboots and commits.
        replaced: the application, if it is not the system that is updated.
    """

    name: str
    says: str
    begin: Callable[[Lab], None]
    ends: Literal["old", "new"]
    by_hand: bool = False
    replaced: Replaced | None = None


def _deployed(version: str) -> Callable[[Lab], None]:
    def begin(lab: Lab) -> None:
        lab.join()
        lab.hold()
        lab.deploy(version)

    return begin


def _cut_in_the_download(lab: Lab) -> None:
    lab.join()
    lab.deploy("b")
    lab.cut_power(writes(lab.random.randint(20, 70), to="passive", after="slot.write"), lose="some")


def _refused_by_a_script(lab: Lab) -> None:
    lab.join()
    lab.deploy("scripted-b")
    lab.claim("new", did="State scripts come to the board")
    scripts = StateScripts(lab)
    scripts.begin()
    scripts.does("ArtifactInstall_Leave", "exit 1")
    lab.hold()
    lab.deploy("scripted-c")


def _brought(lab: Lab) -> None:
    lab.join()
    Operator(lab).brings("b")
    lab.hold()


def _application(name: str, says: str, kind: str, after: str, ends: Literal["old", "new"] = "new") -> Story:
    replaced = Replaced(kind, "one", after)

    def begin(lab: Lab) -> None:
        lab.join()
        lab.deploy_application(kind, replaced.before)
        lab.claim_application("new", did="The first version")
        lab.hold()
        lab.deploy_application(kind, replaced.after)

    return Story(name, says, begin, ends, replaced=replaced)


STORIES = {
    story.name: story
    for story in (
        Story("managed", "a deployment that succeeds", _deployed("b"), "new"),
        Story(
            "rollback", "a deployment whose system does not come up, so that the old one is back",
            _deployed("no-network"), "old",
        ),
        Story("resumed", "a deployment whose download was cut, and goes on", _cut_in_the_download, "new"),
        Story("failed", "a deployment that a state script refuses after the flip", _refused_by_a_script, "old"),
        Story("standalone", "an update by hand: installed from a file, committed", _brought, "new", by_hand=True),
        _application("file", "an application of one file is replaced by a deployment", "single-file", "two"),
        _application(
            "file-undone", "the same is refused by a script of its own, and brought back", "single-file", "unkept",
            "old",
        ),
        _application("directory", "an application of many files is replaced by a deployment", "directory", "two"),
        _application(
            "directory-undone", "the same is refused by a script of its own, and brought back", "directory", "unkept",
            "old",
        ),
        _application("package", "a Debian package is replaced by a deployment", "deb", "two"),
    )
}  # fmt: skip


def story(name: str) -> Story:
    """The story of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return STORIES[name]
    except KeyError:
        raise UsageError(f"There is no update '{name}' to explore.", f"There are {', '.join(STORIES)}.") from None
