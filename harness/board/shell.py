# SPDX-License-Identifier: Apache-2.0
"""Commands on the board, by fabric over QEMU's user network."""

from __future__ import annotations

from types import TracebackType

import paramiko
from fabric import Config, Connection
from invoke.exceptions import CommandTimedOut, UnexpectedExit

from harness.clock import Deadline, poll
from harness.errors import GuestFault

CONNECT_TIMEOUT = 5


class Shell:
    """An SSH connection as root; opened when the first command is run."""

    def __init__(self, port: int, key: paramiko.PKey) -> None:
        self._connection = Connection(
            "127.0.0.1",
            user="root",
            port=port,
            connect_timeout=CONNECT_TIMEOUT,
            config=Config(overrides={"load_ssh_configs": False}),
            connect_kwargs={"pkey": key, "look_for_keys": False, "allow_agent": False, "banner_timeout": 15},
        )

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def run(self, command: str, deadline: Deadline) -> str:
        """Run one command and return its standard output.

        Raises:
            GuestFault: the board cannot be reached in time, or the command failed.
        """
        if poll(self._open, deadline, every=0.2) is None:
            raise GuestFault(f"The board's SSH server did not answer within {deadline.seconds:.0f} s.")
        try:
            done = self._connection.run(command, hide=True, in_stream=False, timeout=max(1, int(deadline.remaining)))
        except UnexpectedExit as failed:
            raise GuestFault(f"'{command}' failed on the board: {failed.result.stderr.strip()}") from failed
        except (CommandTimedOut, OSError, paramiko.SSHException) as lost:
            raise GuestFault(f"'{command}' did not end on the board: {lost}") from lost
        return str(done.stdout)

    def _open(self) -> bool:
        try:
            self._connection.open()
        except (OSError, EOFError, paramiko.SSHException):
            return False
        return True
