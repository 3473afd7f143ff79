# SPDX-License-Identifier: Apache-2.0
"""How much processor time `bootproof --help` needs, as a multiple of what Python needs to do nothing.

Prints one JSON object; times are the best of five, of the child alone.

    python bench/startup.py
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence


def processor_seconds(command: Sequence[str]) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def best(command: Sequence[str], times: int = 5) -> float:
    return min(processor_seconds(command) for _ in range(times))


def main() -> None:
    bare = best([sys.executable, "-c", "pass"])
    told = best([sys.executable, "-c", "import sys; from harness.cli import main; sys.exit(main(['--help']))"])
    print(json.dumps({"help_cpu_s": round(told, 3), "bare_cpu_s": round(bare, 3), "ratio": round(told / bare, 2)}))


if __name__ == "__main__":
    main()
