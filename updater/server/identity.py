# SPDX-License-Identifier: Apache-2.0
"""Who this device is, and what it says of itself.

Identity and inventory scripts print `name=value` lines; a name that repeats becomes a list.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from updater.errors import UpdaterError
from updater.ports import Runner

SCRIPT_DIRECTORY = Path("/usr/share/mender")
Values = dict[str, str | list[str]]
SHOWN = 80  # characters of a wrong line
log = logging.getLogger(__name__)


def parse_values(printed: str) -> Values:
    """Parse `name=value` lines.

    Raises:
        UpdaterError: a line is not of that form.
    """
    values: Values = {}
    for line in filter(None, map(str.strip, printed.splitlines())):
        name, equals, value = line.partition("=")
        if not equals or not name:
            raise UpdaterError(f"'{line[:SHOWN]}' is not of the form name=value.")
        _add(values, name, [value])
    return values


def identity(runner: Runner, share: Path = SCRIPT_DIRECTORY) -> str:
    """The device's identity as JSON with sorted names; its script lies in `share`/identity.

    Raises:
        UpdaterError: the identity script is missing, failed, or printed nothing of use.
    """
    script = share / "identity" / "mender-device-identity"
    try:
        values = parse_values(runner.run([str(script)]))
    except (UpdaterError, OSError) as error:
        raise UpdaterError(f"The device's identity is not known: {_sentence(script, error)}") from error
    if not values:
        raise UpdaterError("The identity script printed nothing, so the server could not tell this device from others.")
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def inventory(runner: Runner, share: Path = SCRIPT_DIRECTORY) -> Values:
    """What all inventory scripts in `share`/inventory print together; one that fails is skipped.

    Raises:
        UpdaterError: there are scripts, and all of them failed.
    """
    found: Values = {}
    scripts = sorted((share / "inventory").glob("mender-inventory-*"))
    failed = 0
    for script in scripts:
        try:
            if not os.access(script, os.X_OK):
                raise UpdaterError("It cannot be executed.")
            values = parse_values(runner.run([str(script)]))
        except (UpdaterError, OSError) as error:
            failed += 1
            log.warning("inventory script %s was skipped: %s", script.name, error)
            continue
        for name, value in values.items():
            _add(found, name, value if isinstance(value, list) else [value])
    if scripts and failed == len(scripts):
        raise UpdaterError(f"All {failed} inventory scripts in {share / 'inventory'} failed.")
    return found


def _add(values: Values, name: str, more: list[str]) -> None:
    present = values.get(name, [])
    both = [*(present if isinstance(present, list) else [present]), *more]
    values[name] = both if len(both) > 1 else both[0]


def _sentence(script: Path, error: Exception) -> str:
    return str(error) if isinstance(error, UpdaterError) else f"{script} cannot be run: {error}."
