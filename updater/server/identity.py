# SPDX-License-Identifier: Apache-2.0
"""Who this device is, and what it says of itself.

Identity and inventory scripts print `name=value` lines; a name that repeats becomes a list.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from updater.errors import UpdaterError
from updater.ports import Runner

SCRIPT_DIRECTORY = Path("/usr/share/mender")
log = logging.getLogger(__name__)


def parse_values(printed: str) -> dict[str, str | list[str]]:
    """Parse `name=value` lines.

    Raises:
        UpdaterError: a line is not of that form.
    """
    values: dict[str, str | list[str]] = {}
    for line in filter(None, map(str.strip, printed.splitlines())):
        name, equals, value = line.partition("=")
        if not equals:
            raise UpdaterError(f"'{line}' is not of the form name=value.")
        present = values.get(name)
        if present is None:
            values[name] = value
        elif isinstance(present, list):
            present.append(value)
        else:
            values[name] = [present, value]
    return values


def identity(runner: Runner, scripts: Path = SCRIPT_DIRECTORY) -> str:
    """The device's identity as JSON with sorted names.

    Raises:
        UpdaterError: the identity script failed or printed nothing of use.
    """
    values = parse_values(runner.run([str(scripts / "identity" / "mender-device-identity")]))
    if not values:
        raise UpdaterError("The identity script printed nothing, so the server could not tell this device from others.")
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def inventory(runner: Runner, scripts: Path = SCRIPT_DIRECTORY) -> dict[str, str | list[str]]:
    """What all inventory scripts print together; one that fails is skipped."""
    found: dict[str, str | list[str]] = {}
    for script in sorted((scripts / "inventory").glob("mender-inventory-*")):
        try:
            found.update(parse_values(runner.run([str(script)])))
        except (UpdaterError, OSError) as error:
            log.warning("inventory script %s was skipped: %s", script.name, error)
    return found
