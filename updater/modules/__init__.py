# SPDX-License-Identifier: Apache-2.0
"""The update modules: programs that bring one kind of payload onto the device.

Each speaks Mender's module protocol, version 3, on the command line (`<module> <state> <working directory>`), so this
client and any other client of that protocol can run it.  Nothing here knows the rest of the updater.

| name | payload | rollback |
|---|---|---|
| `single-file` | one file, and the text files `dest_dir`, `filename`, `permissions` | yes |
| `directory` | one tar of a tree (plain, gzip, xz), and the text file `dest_dir` | yes |
| `script` | programs, run in the order of their names | no: nobody knows what they did |
| `deb` | Debian packages for dpkg | no: the former packages are not on the device, and their scripts have no way back |
| `docker` | container images, if any, and meta-data that says what runs | yes |
"""

from __future__ import annotations

NAMES = ("single-file", "directory", "script", "deb", "docker")


def launcher(name: str, python: str = "/usr/bin/python3") -> str:
    """The text of the program that a client runs: to be put into its directory of modules under `name`, executable.

    Raises:
        ValueError: there is no such module.
    """
    if name not in NAMES:
        raise ValueError(f"There is no update module '{name}'; there are {', '.join(NAMES)}.")
    package = f"updater.modules.{name.replace('-', '_')}"
    return f"#!{python}\nfrom {package} import main; raise SystemExit(main())\n"
