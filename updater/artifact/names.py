# SPDX-License-Identifier: Apache-2.0
"""The words an artifact may use: file names, payload types, script names and printable text.

Every name that later becomes a path on the device passes through here, so anything that could leave its directory
is refused here and nowhere else (Mender artifact format v3).
"""

import re

from updater.artifact.errors import ArtifactError

MAX_FILE_NAME = 255
"""Longest payload file or script name, in characters: what Linux file systems can store."""
MAX_TEXT = 256
"""Longest artifact name, group, device type, payload type or key, in characters."""
MAX_VALUE = 4096
"""Longest value of a provides or depends entry of the payload, in characters."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_\-.,]+")
_PAYLOAD_TYPE = re.compile(r"[A-Za-z0-9_\-.,+]+")
_SCRIPT_NAME = re.compile(
    r"Artifact(Install|Reboot|Rollback|RollbackReboot|Commit|Failure)_(Enter|Leave|Error)_[0-9]{2}(_[!-.0-~]+)?"
)


def check_file_name(name: str) -> str:
    """Return the name of a payload file, or raise ArtifactError when it is no plain file name."""
    if name in {".", ".."} or len(name) > MAX_FILE_NAME or not _FILE_NAME.fullmatch(name):
        what = f"the payload file name {shown(name)} is not a plain file name"
        raise ArtifactError(f"{what}: letters, digits and .,-_ make one")
    return name


def check_payload_type(name: str) -> str:
    """Return a payload type, or raise ArtifactError when it could not be the file name of an update module."""
    if name in {".", ".."} or len(name) > MAX_TEXT or not _PAYLOAD_TYPE.fullmatch(name):
        what = f"the payload type {shown(name)} is not a legal name of an update module"
        raise ArtifactError(f"{what}: letters, digits and .,+-_ make one")
    return name


def check_script_name(name: str) -> str:
    """Return a state script's name, or raise ArtifactError when an artifact may not carry such a script."""
    if len(name) > MAX_FILE_NAME or not _SCRIPT_NAME.fullmatch(name):
        what = f"the state script name {shown(name)} is not one an artifact may carry"
        raise ArtifactError(f"{what}, such as ArtifactInstall_Enter_00_name")
    return name


def check_text(text: object, what: str, limit: int = MAX_TEXT) -> str:
    """Return a non-empty printable string of at most `limit` characters, or raise ArtifactError naming `what`."""
    if not isinstance(text, str):
        raise ArtifactError(f"{what} is not a string")
    if not text:
        raise ArtifactError(f"{what} is empty")
    return check_value(text, what, limit)


def check_value(text: object, what: str, limit: int = MAX_VALUE) -> str:
    """As check_text, but the string may be empty."""
    if not isinstance(text, str):
        raise ArtifactError(f"{what} is not a string")
    if len(text) > limit:
        raise ArtifactError(f"{what} is longer than {limit} characters")
    if not text.isprintable():
        raise ArtifactError(f"{what} holds unprintable characters")
    return text


def shown(name: str) -> str:
    """A name from an untrusted artifact as it may appear in a message: quoted, escaped and short."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")
