# SPDX-License-Identifier: Apache-2.0
"""Mender's own mender-artifact, which the set-up of a checkout installs: without it, its tests fail."""

import subprocess
from pathlib import Path


def ran(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Its run, whatever it ends with."""
    return subprocess.run(["mender-artifact", *map(str, arguments)], capture_output=True, text=True, check=False)


def tool(*arguments: str | Path) -> str:
    """What it prints when all is well."""
    done = ran(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
