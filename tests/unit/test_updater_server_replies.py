# SPDX-License-Identifier: Apache-2.0
"""What of a server's answers is believed: a deployment, and how long it asks to wait."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from updater.errors import ServerError
from updater.server.deployment import Deployment, parse_deployment
from updater.server.retry import LONGEST_WAIT, retry_after

GOOD: dict[str, Any] = {
    "id": "d",
    "artifact": {
        "id": "x", "artifact_name": "b", "source": {"uri": "https://s/b", "expire": "never"},
        "device_types_compatible": ["board", "other"],
    },
    "type": "software",
}  # fmt: skip


def announced(**changed: Any) -> bytes:
    """GOOD with some members replaced, at whatever depth they are; None removes."""

    def walk(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        merged = {name: changed.get(name, walk(inner)) for name, inner in value.items()}
        return {name: inner for name, inner in merged.items() if inner is not None}

    return json.dumps(walk(GOOD)).encode()


def test_a_deployment_is_read_and_what_is_unknown_left_alone() -> None:
    assert parse_deployment(announced()) == Deployment("d", "b", "https://s/b", ("board", "other"))
    control = {"id": "d", "states": {"ArtifactInstall_Enter": {"action": "pause"}}}
    found = parse_deployment(json.dumps({**GOOD, "update_control_map": control}).encode())
    assert found.update_control_map == control
    assert parse_deployment(json.dumps({**GOOD, "update_control_map": None}).encode()).update_control_map == {}


@pytest.mark.parametrize("name", ["id", "artifact", "artifact_name", "source", "uri", "device_types_compatible"])
@pytest.mark.parametrize("value", [None, "", [], {}, 5, True])
def test_a_deployment_that_lacks_something_is_refused_by_name(name: str, value: Any) -> None:
    changed = announced(**{name: value})
    if name == "id" and value is None:
        changed = json.dumps({"artifact": GOOD["artifact"]}).encode()
    with pytest.raises(
        ServerError, match=f"'({name}|artifact_name|uri)' is missing, empty or of a wrong type"
    ) as error:
        parse_deployment(changed)
    assert error.value.status is None, "so that it is asked again, later"


@pytest.mark.parametrize("name", ["id", "artifact_name", "uri"])
@pytest.mark.parametrize("value", ["x" * 9000, "a\nb", "\x1b[31m", "\ud800"])
def test_a_deployment_that_cannot_be_kept_or_shown_is_refused(name: str, value: str) -> None:
    with pytest.raises(ServerError, match=f"'{name}' is too long or does not print"):
        parse_deployment(announced(**{name: value}))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"text"', b"<html>", b"\xff", b"[" * 100_000,
        announced(device_types_compatible=["board", 5]),
        announced(device_types_compatible=[""]),
        json.dumps({**GOOD, "update_control_map": "x"}).encode(),
    ],
)  # fmt: skip
def test_nonsense_is_no_deployment(body: bytes) -> None:
    with pytest.raises(ServerError, match="cannot be understood"):
        parse_deployment(body)


# -- Retry-After -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("0", 0.0), ("120", 120.0), (" 5 ", 5.0), ("9" * 400, LONGEST_WAIT),
        ("Wed, 01 May 2024 12:00:30 GMT", 30.0), ("Wed, 01 May 2024 11:00:00 GMT", 0.0),
        ("Wed, 01 May 2030 12:00:00 GMT", LONGEST_WAIT), ("Wednesday, 01-May-24 12:01:00 GMT", 60.0),
        ("", None), ("soon", None), ("-5", None), ("1.5", None), ("²", None), ("Wed, 99 May 2024 12:00:30 GMT", None),
        ("Wed, 01 May 99999999999 12:00:30 GMT", None),
    ],
)  # fmt: skip
def test_how_long_a_server_asks_to_wait(asked: str, wanted: float | None) -> None:
    assert retry_after({"retry-after": asked}, datetime(2024, 5, 1, 12, tzinfo=UTC)) == wanted
    assert retry_after({}, datetime(2024, 5, 1, 12, tzinfo=UTC)) is None


def test_a_time_of_day_counts_from_the_servers_clock() -> None:
    """A device that has just been switched on may believe it is 1970."""
    headers = {"retry-after": "Wed, 01 May 2024 12:00:30 GMT", "date": "Wed, 01 May 2024 12:00:00 GMT"}
    assert retry_after(headers, datetime(1970, 1, 1, tzinfo=UTC)) == 30.0
    assert retry_after({**headers, "date": "x"}, datetime(1970, 1, 1, tzinfo=UTC)) == LONGEST_WAIT
