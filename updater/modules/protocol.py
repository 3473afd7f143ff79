# SPDX-License-Identifier: Apache-2.0
"""The module protocol: one call of the program is one state, its exit code is the outcome, an answer is one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from updater.modules.problems import ModuleError, sentence
from updater.modules.workdir import Workdir

Action = Callable[[Workdir], None]


@dataclass(frozen=True)
class Module:
    """A module as a client sees it: what it does in which state.  States that are not named succeed without a word."""

    name: str
    actions: Mapping[str, Action]
    rollback: bool = False

    def run(self, argv: Sequence[str]) -> int:
        """One state; what went wrong is one sentence on stderr and exit code 1."""
        if len(argv) != 2:
            print(f"Usage: {self.name} STATE WORKING-DIRECTORY", file=sys.stderr)
            return 1
        state, root = argv
        answer = self._answer(state)
        if answer:
            print(answer)
            return 0
        try:
            self.actions.get(state, _nothing)(Workdir(Path(root).absolute()))
        except ModuleError as error:
            problem = str(error)
        except OSError as error:
            problem = sentence(error)
        except Exception as error:  # a fault of ours; a traceback is of no use in the log of a deployment
            problem = f"The module {self.name} failed in {state}: {error!r}."
        else:
            return 0
        print(" ".join(problem.split("\n")), file=sys.stderr)
        return 1

    def _answer(self, state: str) -> str:
        return {
            "NeedsArtifactReboot": "No",
            "SupportsRollback": "Yes" if self.rollback else "No",
            "ProvidePayloadFileSizes": "No",
        }.get(state, "")


def _nothing(_: Workdir) -> None:
    pass
