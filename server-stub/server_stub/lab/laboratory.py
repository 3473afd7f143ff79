# SPDX-License-Identifier: Apache-2.0
"""What a server has only when it is started for a laboratory: the journal."""

from server_stub.lab.journal import Journal


class Laboratory:
    def __init__(self) -> None:
        self.journal = Journal()

    def wake(self) -> None:
        """Something about the faults has changed."""
