# SPDX-License-Identifier: Apache-2.0
"""The module `deb`: the payload's `*.deb` files are installed by dpkg, all in one call, so that it finds the order.

What they depend on must be on the device or in the payload; nothing is fetched.  dpkg gets no answers from anybody,
so configuration files that were changed on the device stay as they are.

There is no rollback: the former packages are not kept on a device, packing them again from what is installed would
lose what their configuration was, and the maintainer scripts that have run have no way back.  What dpkg had begun when
the power failed is configured to its end when the client reports the failure, so that the next update finds a dpkg
that works.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from updater.modules.durable import Disk, exists, remove_file, write_bytes
from updater.modules.problems import ModuleError
from updater.modules.protocol import Module
from updater.modules.workdir import Workdir

KEEP_CONFIGURATION = ("--force-confdef", "--force-confold")
BEGUN = "bootproof-dpkg"


def install(disk: Disk, work: Workdir) -> None:
    packages = [str(path) for path in work.payload() if path.name.endswith(".deb")]
    if not packages:
        raise ModuleError("The artifact has no Debian package.")
    write_bytes(disk, work.tmp / BEGUN, b"")
    _dpkg("--install", *packages)
    remove_file(disk, work.tmp / BEGUN)


def settle(disk: Disk, work: Workdir) -> None:
    """If an installation did not come to its end: configure what can be configured.  More cannot be done."""
    if exists(work.tmp / BEGUN):
        try:
            _dpkg("--configure", "--pending")
        except ModuleError as error:
            print(error, file=sys.stderr)
        remove_file(disk, work.tmp / BEGUN)


def _dpkg(*words: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "DEBCONF_NONINTERACTIVE_SEEN": "true"}
    command = ["dpkg", *KEEP_CONFIGURATION, *words]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, check=False)
    except FileNotFoundError:
        raise ModuleError("There is no dpkg on this device.") from None
    if done.returncode:
        raise ModuleError(f"dpkg failed with exit code {done.returncode}; what it said is above.")


def module(disk: Disk) -> Module:
    return Module(
        "deb",
        {
            "ArtifactInstall": partial(install, disk),
            "ArtifactFailure": partial(settle, disk),
            "Cleanup": partial(settle, disk),
        },
    )


def main(argv: Sequence[str] | None = None) -> int:
    return module(Disk()).run(sys.argv[1:] if argv is None else argv)
