# SPDX-License-Identifier: Apache-2.0
"""Which proxy is used for which server."""

import pytest

from updater.errors import ServerError
from updater.server.proxy import Proxy, proxy_for


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, None),
        ({"http_proxy": "http://p:1"}, None),
        ({"https_proxy": ""}, None),
        ({"https_proxy": "http://p:1"}, Proxy("p", 1)),
        ({"HTTPS_PROXY": "http://p:1/"}, Proxy("p", 1)),
        ({"HTTPS_PROXY": "http://big", "https_proxy": "http://small"}, Proxy("small", 80)),
        ({"https_proxy": "p:1"}, Proxy("p", 1)),
        ({"https_proxy": "http://[::1]:8"}, Proxy("::1", 8)),
        ({"https_proxy": "http://me:p%40ss%3a@p:1"}, Proxy("p", 1, "Basic bWU6cEBzczo=")),
        ({"https_proxy": "http://me@p:1"}, Proxy("p", 1, "Basic bWU6")),
        ({"https_proxy": "http://p:1", "no_proxy": "server.example"}, None),
        ({"https_proxy": "http://p:1", "NO_PROXY": "server.example"}, None),
    ],
)
def test_the_environment_names_the_proxy(environment: dict[str, str], wanted: Proxy | None) -> None:
    assert proxy_for("https", "server.example", 443, environment) == wanted


@pytest.mark.parametrize("address", ["https://p:1", "socks5://p:1", "http://", "http://p:many", "http://[p"])
def test_a_proxy_of_no_use_is_an_error_that_tells_no_secret(address: str) -> None:
    with pytest.raises(ServerError, match="The proxy that http_proxy names cannot be used") as refusal:
        proxy_for("http", "server.example", 80, {"http_proxy": address.replace("//", "//me:secret@")})
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_device_itself_is_asked_directly(host: str) -> None:
    assert proxy_for("http", host, 80, {"http_proxy": "http://p:1"}) is None


@pytest.mark.parametrize(
    ("exempt", "host", "direct"),
    [
        ("*", "anything", True),
        ("example.com", "example.com", True),
        ("example.com", "Updates.Example.COM.", True),
        (".example.com", "a.example.com", True),
        ("*.example.com", "a.example.com", True),
        ("example.com", "badexample.com", False),
        ("example.com", "example.com.evil", False),
        ("a, b  c,d", "c", True),
        ("a,,b,", "e", False),
        (".", "a", False),
        ("example.com:8443", "example.com", True),
        ("example.com:443", "example.com", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "ten.example", False),
        ("10.0.0.0/800", "10.1.2.3", False),
        ("fd00::/8", "fd00::1", True),
        ("fd00::1", "fd00::1", True),
        ("[fd00::1]:8443", "fd00::1", True),
        ("[fd00::1]:1", "fd00::1", False),
    ],
)
def test_what_is_exempt_is_asked_directly(exempt: str, host: str, direct: bool) -> None:
    found = proxy_for("http", host, 8443, {"http_proxy": "http://p:1", "no_proxy": exempt})
    assert (found is None) is direct
