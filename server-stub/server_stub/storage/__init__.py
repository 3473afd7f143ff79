# SPDX-License-Identifier: Apache-2.0
"""What survives a restart: rows in SQLite and artifact files. Decides nothing, it keeps what it is told."""
