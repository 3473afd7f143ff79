# SPDX-License-Identifier: Apache-2.0
"""Programs in the place of the one that boots, which boot nothing."""

import sys

import pytest

ANSWERS = """
import json, sys
for line in sys.stdin:
    task = json.loads(line)
    print(json.dumps({"point": task["point"], "heard": task["heard"], "outcome": "held", "says": ""}), flush=True)
"""
ENDS = "import sys; sys.stdin.readline(); sys.exit('There is no room.')"


def put_in_place(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr("harness.explore.pool.COMMAND", (sys.executable, "-c", program))
