# SPDX-License-Identifier: Apache-2.0
"""`python3 -m updater.modules DIRECTORY` puts our update modules where a client looks for its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from updater.modules import NAMES, launcher


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m updater.modules", description=__doc__)
    parser.add_argument("directory", type=Path, help="usually /usr/share/mender/modules/v3")
    directory: Path = parser.parse_args(argv).directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            place = directory / name
            place.write_text(launcher(name, sys.executable))
            place.chmod(0o755)
    except OSError as error:
        print(f"{error.filename} cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
