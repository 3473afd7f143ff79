# SPDX-License-Identifier: Apache-2.0
"""For all tests: how long an example takes tells of the machine, not of the code, and what is long begins."""

import pytest
from hypothesis import settings

settings.register_profile("bootproof", deadline=None)
settings.load_profile("bootproof")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What boots boards and builds images begins: at the end, one process would be at it while the others idle."""
    items.sort(key=lambda item: item.get_closest_marker("stack") is None)
