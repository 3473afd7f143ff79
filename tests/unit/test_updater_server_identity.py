# SPDX-License-Identifier: Apache-2.0
"""Who the device is, and what it says of itself."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from updater.errors import UpdaterError
from updater.process import ProgramRunner
from updater.server.identity import identity, inventory, parse_values


def test_values_are_lines_and_a_name_that_repeats_is_a_list() -> None:
    assert parse_values("") == {}
    assert parse_values("a=1\n\n b=2=3 \nc=\na=4\na=5\n") == {"a": ["1", "4", "5"], "b": "2=3", "c": ""}
    for line in ("nonsense", "=value"):
        with pytest.raises(UpdaterError, match=f"'{line}' is not of the form name=value"):
            parse_values(f"a=1\n{line}\n")


class Scripts:
    """Prints what is given for each script; the others fail."""

    def __init__(self, said: dict[str, str]) -> None:
        self.said = said

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60.0) -> str:
        assert (stdin, timeout) == ("", 60.0)
        [path] = argv
        if path.rpartition("/")[2] not in self.said:
            raise UpdaterError(f"{path} failed.")
        return self.said[path.rpartition("/")[2]]


def test_the_identity_does_not_depend_on_the_order_of_its_lines(tmp_path: Path) -> None:
    scripts = Scripts({"mender-device-identity": "sku=b\nmac=1\nmac=2\n"})
    assert identity(scripts, tmp_path) == '{"mac":["1","2"],"sku":"b"}'


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        (None, "identity is not known: .*failed"),
        ("\n", "printed nothing"),
        ("mac\n", "identity is not known: 'mac' is not"),
    ],
)
def test_a_device_without_identity_says_why(printed: str | None, says: str, tmp_path: Path) -> None:
    said = {} if printed is None else {"mender-device-identity": printed}
    with pytest.raises(UpdaterError, match=says):
        identity(Scripts(said), tmp_path)


def write(folder: Path, name: str, text: str, mode: int = 0o755) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(mode)


def test_real_scripts_are_run(tmp_path: Path) -> None:
    write(tmp_path / "identity", "mender-device-identity", "echo mac=$((40 + 2))")
    assert identity(ProgramRunner(), tmp_path) == '{"mac":"42"}'
    write(tmp_path / "identity", "mender-device-identity", "echo mac=1; exit 3")
    with pytest.raises(UpdaterError, match=r"identity is not known: .*failed with status 3"):
        identity(ProgramRunner(), tmp_path)
    (tmp_path / "identity" / "mender-device-identity").chmod(0o644)
    with pytest.raises(UpdaterError, match=r"identity is not known: .*cannot be run|identity is not known: .*denied"):
        identity(ProgramRunner(), tmp_path)


def test_an_inventory_script_that_fails_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "inventory"
    write(folder, "mender-inventory-a", "echo x=1; echo y=1")
    write(folder, "mender-inventory-b", "echo x=never; exit 1")
    write(folder, "mender-inventory-c", "echo y=2; echo y=3")
    write(folder, "mender-inventory-d", "echo x=never", mode=0o644)
    write(folder, "mender-inventory-e", "echo nonsense")
    write(folder, "README", "echo z=1")
    assert inventory(ProgramRunner(), tmp_path) == {"x": "1", "y": ["1", "2", "3"]}
    skipped = [record.getMessage().split()[2] for record in caplog.records if record.levelname == "WARNING"]
    assert "mender-inventory-d was skipped: It cannot be executed." in caplog.text
    assert skipped == ["mender-inventory-b", "mender-inventory-d", "mender-inventory-e"]


def test_no_inventory_at_all_is_an_error_only_where_there_are_scripts(tmp_path: Path) -> None:
    assert inventory(Scripts({}), tmp_path) == {}
    write(tmp_path / "inventory", "mender-inventory-a", "")
    write(tmp_path / "inventory", "mender-inventory-b", "")
    with pytest.raises(UpdaterError, match="All 2 inventory scripts"):
        inventory(Scripts({}), tmp_path)
    assert inventory(Scripts({"mender-inventory-b": ""}), tmp_path) == {}
