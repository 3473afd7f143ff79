# SPDX-License-Identifier: Apache-2.0
"""The module `script`: the payload's files are programs, run one after another in the byte order of their names.

As with Mender's module they get no arguments, and the first that fails ends it; dot files are not run.  There is no
rollback, because nobody knows what a program has changed: a script that must not be half done has to see to that
itself, and so has one after a loss of power, as no client runs ArtifactInstall a second time.
"""

from __future__ import annotations

import errno
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from updater.modules.problems import ModuleError
from updater.modules.protocol import Module
from updater.modules.workdir import Workdir

SHELL = "/bin/sh"


def install(work: Workdir) -> None:
    scripts = [path for path in work.payload() if not path.name.startswith(".")]
    if not scripts:
        raise ModuleError("The artifact has no script.")
    for script in scripts:
        script.chmod(stat.S_IMODE(script.stat().st_mode) | stat.S_IXUSR)
        code = _run(script)
        if code < 0:
            raise ModuleError(f"The script {script.name} was ended by {signal.Signals(-code).name}.")
        if code:
            raise ModuleError(f"The script {script.name} failed with exit code {code}.")


def _run(script: Path) -> int:
    try:
        return subprocess.run([script], stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        if error.errno == errno.ENOEXEC:  # no '#!' line: a shell would take it for one of its own
            return subprocess.run([SHELL, script], stdin=subprocess.DEVNULL, check=False).returncode
        raise ModuleError(f"The script {script.name} cannot be run: {error.strerror}.") from error


def main(argv: Sequence[str] | None = None) -> int:
    return Module("script", {"ArtifactInstall": install}).run(sys.argv[1:] if argv is None else argv)
