# SPDX-License-Identifier: Apache-2.0
"""An update that ends under a name that says that not all went well: which slot is to stay all the same."""

from types import SimpleNamespace
from typing import Any

import pytest

from updater.machine.actions import Actions
from updater.machine.steps import Event
from updater.store import Device, Update


@pytest.mark.parametrize(("kept", "target", "slot"), [(True, "b", "b"), (False, "b", "a"), (True, "", "a")])
def test_a_commit_that_something_failed_after_is_one_all_the_same(kept: bool, target: str, slot: str) -> None:
    installer = SimpleNamespace(kept=lambda: kept, restored=lambda: False)
    world: Any = SimpleNamespace(make_installer=lambda _: installer)
    update = Update(
        "update-after-commit", "d", artifact_name="new", payload_type="any", origin="a", target=target, outcome="failed"
    )
    device, event = Actions(world).save_provides(Device({"artifact_name": "old"}, update, slot="a"))
    assert event is Event.DONE
    assert device.slot == slot
    assert device.artifact_name == "new_INCONSISTENT"
