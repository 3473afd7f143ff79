# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind: events, the run folder, the table."""

from harness.evidence.events import Events
from harness.evidence.runfolder import RunFolder
from harness.evidence.table import Row, table

__all__ = ["Events", "Row", "RunFolder", "table"]
