# SPDX-License-Identifier: Apache-2.0
"""What can go wrong while images are built, by whose fault it is."""

from __future__ import annotations


class ImageError(Exception):
    """An image cannot be built or used.

    Args:
        message: one sentence that says what is wrong.
        next_step: one sentence that says what to do about it.
    """

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(f"{message} {next_step}".strip())
        self.message = message
        self.next_step = next_step


class ToolLate(ImageError):
    """A program that the build calls did not come to an end in the time that it had."""


class ToolFailed(ImageError):
    """A program that the build calls ended with an error; the end of what it said is kept."""

    def __init__(self, argv: list[str], status: int, said: str) -> None:
        tail = "\n".join(said.strip().splitlines()[-15:])
        super().__init__(f"'{argv[0]}' failed with status {status}:\n{tail}")
        self.argv = argv
        self.status = status
        self.said = said
