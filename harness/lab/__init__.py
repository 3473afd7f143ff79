# SPDX-License-Identifier: Apache-2.0
"""A laboratory: one board, one server, one network between them, and the verbs a scenario is told in."""

from harness.lab.lab import Lab
from harness.lab.rig import Rig, Timeouts
from harness.lab.scratch import scratch_lab

__all__ = ["Lab", "Rig", "Timeouts", "scratch_lab"]
