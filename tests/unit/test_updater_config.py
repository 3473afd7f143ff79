# SPDX-License-Identifier: Apache-2.0
"""The configuration and the device's type."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from updater.config import KEYS, Config, device_type, load
from updater.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "mender.conf"


def read(config_file: Path, values: Any = None, fallback: Any = None) -> Config:
    data = config_file.parent / "data"
    for path, content in ((config_file, values), (data / "mender.conf", fallback)):
        if content is not None:
            path.write_text(json.dumps(content))
    return load(config_file, data, {})


def test_without_files_there_are_menders_defaults(config_file: Path) -> None:
    config = load(None, config_file.parent / "data", {"MENDER_CONF_DIR": str(config_file.parent)})
    assert (config.update_poll, config.inventory_poll, config.retry_poll) == (1800, 28800, 300)
    assert (config.retry_count, config.download_tries, config.verify_keys) == (0, 10, ())
    assert config.device_type_file == config_file.parent / "data" / "device_type"


def test_every_key_is_described_with_its_default() -> None:
    rows = [line.split(" | ") for line in (ROOT / "docs" / "updater.md").read_text().splitlines()]
    described = {name: row[1] for row in rows if len(row) == 3 for name in re.findall(r"`([A-Z][\w.]+)`", row[0])}
    assert described.keys() == KEYS.keys()
    config = Config()
    stated = {name: getattr(config, key.field) for name, key in KEYS.items() if key.field}
    for name, default in stated.items():
        if type(default) in (int, bool) and described[name] != "derived":
            assert described[name] == str(default).lower(), name


def test_the_first_file_counts_more_and_all_keys_are_taken(config_file: Path) -> None:
    config = read(
        config_file,
        {"ServerURL": "https://one", "RootfsPartA": "/dev/a", "ArtifactVerifyKeys": ["/1", "/2"], "RetryPollCount": 0,
         "HttpsClient": {"Key": "/ck"}},
        {
            "ServerURL": "https://two", "RootfsPartB": "/dev/b", "TenantToken": "t", "ServerCertificate": "/c.pem",
            "UpdatePollIntervalSeconds": 1, "InventoryPollIntervalSeconds": 2, "RetryPollIntervalSeconds": 3,
            "RetryPollCount": 4, "RetryDownloadCount": 5, "DeviceTypeFile": "/type", "SkipVerify": True,
            "HttpsClient": {"Certificate": "/cc", "Key": "/other"}, "Security": {"AuthPrivateKey": "/ak"},
            "StateScriptTimeoutSeconds": 6, "StateScriptRetryIntervalSeconds": 7, "StateScriptRetryTimeoutSeconds": 8,
            "ModuleTimeoutSeconds": 9, "UpdateLogPath": "/logs", "DaemonLogLevel": "Trace",
            "Bootproof": {
                "BootLimit": 2, "ParkAfterFailures": 4, "DownloadStallSeconds": 10, "LongestSilenceSeconds": 90,
                "SkipUnchangedBlocks": True, "ResumeDownloads": False,
            },
        },
    )  # fmt: skip
    wanted = Config(
        servers=("https://one",), server_certificate=Path("/c.pem"), tenant_token="t", update_poll=1, inventory_poll=2,
        retry_poll=3, retry_count=0, download_tries=5, verify_keys=(Path("/1"), Path("/2")),
        slots={"a": Path("/dev/a"), "b": Path("/dev/b")}, device_type_file=Path("/type"),
        data_directory=config_file.parent / "data", skip_verify=True, client_certificate=Path("/cc"),
        client_key=Path("/ck"), auth_key=Path("/ak"), script_timeout=6, script_retry_interval=7,
        script_retry_timeout=8, module_timeout=9, log_directory=Path("/logs"), log_level="debug", boot_limit=2,
        park_after=4, download_stall=10, longest_silence=90, skip_unchanged=True, resume_downloads=False,
    )  # fmt: skip
    assert config == wanted
    same = [one.name for one in fields(Config) if getattr(wanted, one.name) == getattr(Config(), one.name)]
    assert set(same) == {"conf_directory", "share_directory", "retry_count"}, (
        "every other field was set to something else"
    )
    assert read(config_file, {"ArtifactVerifyKey": "/k"}).verify_keys == (Path("/k"),)


def test_servers_are_tried_in_the_order_of_the_list(config_file: Path) -> None:
    entries = [{"ServerURL": "https://one"}, {"ServerURL": "http://two:8080"}]
    config = read(config_file, {"Servers": entries})
    assert (config.servers, config.server_url) == (("https://one", "http://two:8080"), "https://one")
    config = read(config_file, {"Servers": entries, "ServerURL": "https://three"})
    assert config.servers == ("https://three", "https://one", "http://two:8080")
    config = read(config_file, {"Servers": entries, "ServerURL": "http://two:8080"})
    assert config.servers == ("http://two:8080", "https://one"), "none is tried twice"
    assert Config().server_url == read(config_file, {"ServerURL": ""}).server_url == ""


def test_where_things_lie_is_said_by_the_environment(tmp_path: Path) -> None:
    for place, name in (("conf", "first"), ("data", "second")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "mender.conf").write_text(json.dumps({"TenantToken": name}))
    places = {"MENDER_CONF_DIR": "conf", "MENDER_DATASTORE_DIR": "data", "MENDER_DATA_DIR": "share"}
    config = load(environment={name: str(tmp_path / place) for name, place in places.items()})
    assert config.tenant_token == "first"
    assert (config.conf_directory, config.share_directory) == (tmp_path / "conf", tmp_path / "share")
    assert (config.data_directory, config.log_directory) == (tmp_path / "data", tmp_path / "data")
    (tmp_path / "other.conf").write_text("{}")
    given = load(tmp_path / "other.conf", tmp_path, {"MENDER_DATASTORE_DIR": "/nowhere"})
    assert given.data_directory == tmp_path
    assert given.conf_directory == Path("/etc/mender")
    assert given.share_directory == Path("/usr/share/mender")


def test_the_longest_silence_is_derived_from_the_pauses_and_the_servers() -> None:
    assert Config().longest_silence == 1800 + 120
    assert Config(servers=("http://a", "http://b"), download_stall=1, update_poll=5).longest_silence == 300 + 3 * 4
    assert Config(longest_silence=7).longest_silence == 7


def test_an_empty_text_is_no_value(config_file: Path) -> None:
    empty = {name: "" for name, key in KEYS.items() if key.kind is str and "." not in name and name != "DaemonLogLevel"}
    config = read(config_file, empty, {"ServerCertificate": "/c.pem", "RootfsPartA": "/dev/a", "TenantToken": "t"})
    assert config == read(config_file, {}, {})


def test_an_unknown_key_warns_and_has_no_effect(config_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = {"ServerURL": "https://one", "ServerUri": 5, "Bootproof": {"Bootlimits": 1}, "HttpsClient": {"x": {}}}
    assert read(config_file, values).server_url == "https://one"
    said = sorted(record.getMessage() for record in caplog.records)
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert all(line.startswith(str(config_file)) for line in said)
    assert [line.split(" the key ")[1] for line in said] == [
        "Bootproof.Bootlimits is not known and has no effect",
        "HttpsClient.x is not known and has no effect",
        "ServerUri is not known and has no effect",
    ]


def test_keys_are_taken_in_any_letters(config_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As Mender's client 3.4 takes them: a key that was to check signatures must not be passed over."""
    values = {"serverurl": "https://one", "artifactVerifyKey": "/k", "bootproof": {"BOOTLIMIT": 3}}
    config = read(config_file, values)
    assert (config.servers, config.verify_keys, config.boot_limit) == (("https://one",), (Path("/k"),), 3)
    assert caplog.records == []


def test_a_file_that_is_given_by_name_must_be_there(tmp_path: Path) -> None:
    """A mistyped name would otherwise be a device that checks no signatures."""
    none, said = tmp_path / "none.conf", "was given as the configuration, and there is no such file"
    with pytest.raises(ConfigError, match=said):
        load(none, tmp_path, {})
    with pytest.raises(ConfigError, match=said):
        load(None, tmp_path, {"MENDER_CONF_DIR": str(tmp_path)}, fallback_file=none)


def test_the_other_file_may_be_given_too(tmp_path: Path) -> None:
    first, second = tmp_path / "first.conf", tmp_path / "second.conf"
    first.write_text('{"TenantToken": "first"}')
    second.write_text('{"TenantToken": "second", "RetryPollCount": 7}')
    config = load(first, tmp_path, {}, fallback_file=second)
    assert (config.tenant_token, config.retry_count) == ("first", 7)


def test_a_silence_that_is_shorter_than_a_slow_round_is_refused(config_file: Path) -> None:
    """The device would ask the server without a pause."""
    with pytest.raises(ConfigError, match=r"LongestSilenceSeconds is 120, and .* take 180: set it to that at least"):
        read(config_file, {"Bootproof": {"LongestSilenceSeconds": 120}})
    assert read(config_file, {"Bootproof": {"LongestSilenceSeconds": 180}}).longest_pause == 60
    short = {"RetryPollIntervalSeconds": 5, "Bootproof": {"LongestSilenceSeconds": 125}}
    assert read(config_file, short).longest_pause == 5


def test_what_only_menders_clients_can_use_is_taken_in_one_line(
    config_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    values = {
        "Connectivity": {"DisableKeepAlive": True}, "DBus": {"Enabled": False}, "DeviceTier": "standard",
        "BootUtilitiesSetActivePart": "x", "BootUtilitiesGetNextActivePart": "y", "Security": {"SSLEngine": "e"},
        "UpdateControlMapExpirationTimeSeconds": "often", "HttpsClient": {"SSLEngine": "e"},
    }  # fmt: skip
    assert read(config_file, values) == read(config_file, {})
    [record] = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage().endswith("UpdateControlMapExpirationTimeSeconds: no effect here")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("ServerURL", 5, " must be a string, not 5."),
        ("ServerURL", None, " must be a string, not null."),
        ("UpdatePollIntervalSeconds", "60", ' must be a whole number, not "60".'),
        ("UpdatePollIntervalSeconds", 1.5, " must be a whole number, not 1.5."),
        ("UpdatePollIntervalSeconds", True, " must be a whole number, not true."),
        ("ArtifactVerifyKeys", "/k", ' must be a list, not "/k".'),
        ("ArtifactVerifyKeys", ["/k", 5], "[1] must be a path, not 5."),
        ("ArtifactVerifyKeys", ["/k", ""], '[1] must be a path, not "".'),
        ("UpdatePollIntervalSeconds", 0, " cannot be 0; 1 to 2147483647 can."),
        ("RetryPollIntervalSeconds", -1, " cannot be -1; 1 to 2147483647 can."),
        ("RetryPollIntervalSeconds", 2**31, " cannot be 2147483648; 1 to 2147483647 can."),
        ("RetryPollCount", -1, " cannot be -1; 0 to 2147483647 can."),
        ("RetryDownloadCount", 10001, " cannot be 10001; 1 to 10000 can."),
        ("SkipVerify", 1, " must be true or false, not 1."),
        ("SkipVerify", "true", ' must be true or false, not "true".'),
        ("HttpsClient", "/c", ' must be an object, not "/c".'),
        ("HttpsClient", {"Certificate": 1}, ".Certificate must be a string, not 1."),
        ("Security", {"AuthPrivateKey": ["/k"]}, '.AuthPrivateKey must be a string, not ["/k"].'),
        ("Bootproof", [], " must be an object, not []."),
        ("Bootproof", {"DownloadStallSeconds": 86401}, ".DownloadStallSeconds cannot be 86401; 1 to 86400 can."),
        ("Bootproof", {"BootLimit": 0}, ".BootLimit cannot be 0; 1 to 2147483647 can."),
        ("Bootproof", {"BootLimit": True}, ".BootLimit must be a whole number, not true."),
        ("Bootproof", {"ResumeDownloads": 0}, ".ResumeDownloads must be true or false, not 0."),
        ("Servers", {}, " must be a list, not {}."),
        ("Servers", ["https://a"], '[0] must be an object like {"ServerURL": "https://..."}, not "https://a".'),
        ("Servers", [{"ServerURL": "https://a"}, {}], "[1].ServerURL is missing or empty."),
        ("Servers", [{"ServerURL": "https://a"}, {"ServerURL": ""}], "[1].ServerURL is missing or empty."),
        ("Servers", [{"ServerURL": 5}], "[0].ServerURL must be a string, not 5."),
        (
            "Servers",
            [{"ServerURL": "a"}],
            '[0].ServerURL must begin with http:// or https:// and hold no spaces, not "a".',
        ),
        ("ServerURL", "ftp://a", ' must begin with http:// or https:// and hold no spaces, not "ftp://a".'),
        (
            "DaemonLogLevel",
            "loud",
            ' must be one of trace, debug, info, warning, warn, error, fatal, panic, not "loud".',
        ),
        ("RootfsPartA", "/dev/a\u0000", ' cannot hold what does not print: "/dev/a\\u0000".'),
        ("ServerURL", 10**200, " must be a string, not 1" + "0" * 79 + "...."),
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
    assert str(refusal.value) == f"{path}: {key}{says}"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_object_is_refused(content: bytes, config_file: Path) -> None:
    config_file.write_bytes(content)
    with pytest.raises(ConfigError, match=str(config_file)):
        read(config_file)


def test_one_way_to_name_the_keys_is_enough(config_file: Path) -> None:
    with pytest.raises(ConfigError, match="Both ArtifactVerifyKey and ArtifactVerifyKeys are set"):
        read(config_file, {"ArtifactVerifyKey": "/k", "ArtifactVerifyKeys": ["/l"]})
    with pytest.raises(ConfigError, match="Both"):
        read(config_file, {"ArtifactVerifyKey": "/k"}, {"ArtifactVerifyKeys": []})


@pytest.mark.parametrize(("one", "other"), [("Certificate", "Key"), ("Key", "Certificate")])
def test_a_client_certificate_needs_its_key(one: str, other: str, config_file: Path) -> None:
    with pytest.raises(ConfigError, match=rf"HttpsClient\.{other} is not set"):
        read(config_file, {"HttpsClient": {one: "/x"}})


def test_two_slots_are_two(config_file: Path) -> None:
    with pytest.raises(ConfigError, match="no slot to install into"):
        read(config_file, {"RootfsPartA": "/dev/a"}, {"RootfsPartB": "/dev/a"})


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
