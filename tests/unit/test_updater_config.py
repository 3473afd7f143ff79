# SPDX-License-Identifier: Apache-2.0
"""The configuration, the device's type, identity and inventory."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from updater.config import Config, device_type, load
from updater.errors import ConfigError, UpdaterError
from updater.server.identity import identity, inventory, parse_values


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "mender.conf"


def read(config_file: Path, values: Any = None, fallback: Any = None) -> Config:
    data = config_file.parent / "data"
    for path, content in ((config_file, values), (data / "mender.conf", fallback)):
        if content is not None:
            path.write_text(json.dumps(content))
    return load(config_file, data)


def test_without_files_there_are_menders_defaults(config_file: Path) -> None:
    config = read(config_file)
    assert (config.update_poll, config.inventory_poll, config.retry_poll) == (1800, 28800, 300)
    assert (config.retry_count, config.download_tries, config.verify_keys) == (0, 10, ())
    assert config.device_type_file == config_file.parent / "data" / "device_type"


def test_the_first_file_counts_more_and_all_keys_are_taken(config_file: Path) -> None:
    config = read(
        config_file,
        {"ServerURL": "https://one", "RootfsPartA": "/dev/a", "ArtifactVerifyKeys": ["/1", "/2"], "RetryPollCount": 0},
        {
            "ServerURL": "https://two", "RootfsPartB": "/dev/b", "TenantToken": "t", "ServerCertificate": "/c.pem",
            "UpdatePollIntervalSeconds": 1, "InventoryPollIntervalSeconds": 2, "RetryPollIntervalSeconds": 3,
            "RetryPollCount": 4, "RetryDownloadCount": 5, "DeviceTypeFile": "/type",
        },
    )  # fmt: skip
    assert config == Config(
        server_url="https://one", server_certificate=Path("/c.pem"), tenant_token="t", update_poll=1, inventory_poll=2,
        retry_poll=3, retry_count=0, download_tries=5, verify_keys=(Path("/1"), Path("/2")),
        slots={"a": Path("/dev/a"), "b": Path("/dev/b")}, device_type_file=Path("/type"),
        data_directory=config_file.parent / "data",
    )  # fmt: skip
    assert read(config_file, {"ArtifactVerifyKey": "/k"}).verify_keys == (Path("/k"),)


def test_an_unknown_key_warns_and_has_no_effect(config_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(config_file, {"ServerUrl": 5, "ServerURL": "https://one"}).server_url == "https://one"
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert str(config_file) in record.getMessage()
    assert "ServerUrl" in record.getMessage()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("ServerURL", 5, "must be a string, not 5."),
        ("ServerURL", None, "must be a string, not null."),
        ("UpdatePollIntervalSeconds", "60", 'must be a whole number, not "60".'),
        ("UpdatePollIntervalSeconds", 1.5, "must be a whole number, not 1.5."),
        ("UpdatePollIntervalSeconds", True, "must be a whole number, not true."),
        ("ArtifactVerifyKeys", "/k", 'must be a list, not "/k".'),
        ("ArtifactVerifyKeys", ["/k", 5], 'cannot be ["/k", 5].'),
        ("UpdatePollIntervalSeconds", 0, "cannot be 0."),
        ("RetryPollIntervalSeconds", -1, "cannot be -1."),
        ("RetryPollCount", -1, "cannot be -1."),
    ],
)
@pytest.mark.parametrize("where", ["first", "second"])
def test_a_wrong_value_is_refused_with_file_and_key(
    key: str, value: Any, says: str, where: str, config_file: Path
) -> None:
    files = (config_file, {key: value}, {}) if where == "first" else (config_file, {}, {key: value})
    path = config_file if where == "first" else config_file.parent / "data" / "mender.conf"
    with pytest.raises(ConfigError) as refusal:
        read(*files)
    assert str(refusal.value) == f"{path}: {key} {says}"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff"])
def test_a_file_that_is_no_object_is_refused(content: bytes, config_file: Path) -> None:
    config_file.write_bytes(content)
    with pytest.raises(ConfigError, match=str(config_file)):
        read(config_file)


def test_one_way_to_name_the_keys_is_enough(config_file: Path) -> None:
    with pytest.raises(ConfigError, match="Both ArtifactVerifyKey and ArtifactVerifyKeys are set"):
        read(config_file, {"ArtifactVerifyKey": "/k", "ArtifactVerifyKeys": ["/l"]})
    with pytest.raises(ConfigError, match="Both"):
        read(config_file, {"ArtifactVerifyKey": "/k"}, {"ArtifactVerifyKeys": []})


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"device_type=board", "board"),
        (b"device_type=board\n", "board"),
        (b"device_type=a=b\n\n", "a=b"),
        (b"", None),
        (b"device_type=", None),
        (b"device_type", None),
        (b"type=board\n", None),
        (b"\ndevice_type=board\n", None),
        (b"device_type=board\ndevice_type=other\n", None),
        (b"device_type=\xff\xfe", None),
    ],
)
def test_the_device_type_is_one_line(content: bytes, wanted: str | None, tmp_path: Path) -> None:
    path = tmp_path / "device_type"
    path.write_bytes(content)
    config = Config(device_type_file=path)
    if wanted is None:
        with pytest.raises(ConfigError, match=str(path)):
            device_type(config)
    else:
        assert device_type(config) == wanted


def test_a_missing_device_type_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        device_type(Config(device_type_file=tmp_path / "none"))


# -- identity and inventory --------------------------------------------------------------------------------------------


def test_values_are_lines_and_a_name_that_repeats_is_a_list() -> None:
    assert parse_values("") == {}
    assert parse_values("a=1\n\n b=2=3 \nc=\na=4\na=5\n") == {"a": ["1", "4", "5"], "b": "2=3", "c": ""}
    with pytest.raises(UpdaterError, match="'nonsense' is not of the form"):
        parse_values("a=1\nnonsense\n")


class Scripts:
    def __init__(self, said: dict[str, str]) -> None:
        self.said = said

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60.0) -> str:
        assert (stdin, timeout) == ("", 60.0)
        [path] = argv
        if path.rpartition("/")[2] not in self.said:
            raise UpdaterError(f"{path} failed.")
        return self.said[path.rpartition("/")[2]]


def test_the_identity_does_not_depend_on_the_order_of_its_lines(tmp_path: Path) -> None:
    scripts = Scripts({"mender-device-identity": "sku=b\nmac=1\n"})
    assert identity(scripts, tmp_path) == '{"mac":"1","sku":"b"}'
    with pytest.raises(UpdaterError, match="printed nothing"):
        identity(Scripts({"mender-device-identity": "\n"}), tmp_path)
    with pytest.raises(UpdaterError, match="failed"):
        identity(Scripts({}), tmp_path)


def test_an_inventory_script_that_fails_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "inventory"
    folder.mkdir()
    for name in ("mender-inventory-a", "mender-inventory-b", "mender-inventory-c", "README"):
        (folder / name).touch()
    said = {"mender-inventory-a": "x=1\ny=1\n", "mender-inventory-c": "y=2\ny=3\n", "README": "z=1\n"}
    assert inventory(Scripts(said), tmp_path) == {"x": "1", "y": ["2", "3"]}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
