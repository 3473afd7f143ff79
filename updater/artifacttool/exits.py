# SPDX-License-Identifier: Apache-2.0
"""What the command ends with, and the exception that says so; the codes are mender-artifact's."""

from enum import IntEnum


class ExitCode(IntEnum):
    """One code for one meaning."""

    OK = 0
    PARAMETERS = 1  # an option is wrong or missing
    VERSION = 2  # the format version is not 3
    CREATE = 3  # an output cannot be created
    OPEN = 4  # an input cannot be opened
    INVALID = 5  # the file is no valid artifact, or not signed as asked
    FEATURE = 6  # the format or mender-artifact knows it, this tool does not
    SYSTEM = 7  # this machine failed while the work was under way
    INTERRUPTED = 130


class Failure(Exception):
    """The command cannot be done: one sentence that says what is wrong, one what to do next, and the code."""

    def __init__(self, code: ExitCode, message: str, next_step: str) -> None:
        super().__init__(f"{message} {next_step}")
        self.code = code


def sentence(text: object) -> str:
    """The text of an error as a sentence: with a capital letter and a full stop."""
    words = str(text)
    return f"{words[:1].upper()}{words[1:]}."
