# SPDX-License-Identifier: Apache-2.0
"""The server's log: one JSON object a line on standard error."""

import asyncio
import logging

from pythonjsonlogger.json import JsonFormatter


def start(level: str) -> None:
    """Send all of the process's log messages there."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields={"asctime": "time", "levelname": "level"}
        )
    )
    handler.addFilter(_is_worth_telling)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """What is cut off because the server ends is no defect: it gets neither a traceback nor a count as an error."""
    if record.name == "uvicorn.error" and "timeout graceful shutdown exceeded" in str(record.msg):
        return False
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
