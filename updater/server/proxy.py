# SPDX-License-Identifier: Apache-2.0
"""Which forward proxy stands between this device and a server, as the environment says.

`http_proxy`, `https_proxy` and `no_proxy`, in small letters or capitals.  This device itself is never asked through a
proxy.
"""

from __future__ import annotations

import base64
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from updater.errors import ServerError

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Proxy:
    """Where a proxy listens, and the value of `Proxy-Authorization`, empty if it wants none."""

    host: str
    port: int
    authorization: str = ""


def proxy_for(scheme: str, host: str, port: int, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for a server, or None if it is to be reached directly.

    Raises:
        ServerError: the environment names a proxy that cannot be used.
    """
    variable = f"{scheme}_proxy"
    address = environment.get(variable) or environment.get(variable.upper()) or ""
    exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if not address or _is_local(host) or is_exempt(host, port, exempt):
        return None
    try:
        parts = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
        name, proxy_port = parts.hostname, parts.port or DEFAULT_PORTS["http"]
    except ValueError as error:
        raise ServerError(f"The proxy that {variable} names cannot be used: {error}.") from error
    if parts.scheme != "http" or not name:
        raise ServerError(f"The proxy that {variable} names cannot be used: its address must be http://host:port.")
    return Proxy(name, proxy_port, _authorization(parts))


def is_exempt(host: str, port: int, exempt: str) -> bool:
    """Whether `exempt` (as of `no_proxy`) names a host.

    Its entries stand between commas or spaces: `*`, a domain (which means its hosts too, with or without a leading
    dot), an address, a network (`10.0.0.0/8`), each but the last with a port if only that one is meant.
    """
    return any(_names(entry.lower(), host.lower().rstrip("."), port) for entry in re.split(r"[,\s]+", exempt) if entry)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _in_network(host, entry)
    wanted = re.fullmatch(r"(?:\[(?P<v6>.+)\]|(?P<name>[^:]*))(?::(?P<port>\d+))?", entry)
    if wanted is None:  # an IPv6 address without brackets
        return entry == host
    if wanted["port"] and int(wanted["port"]) != port:
        return False
    if wanted["v6"]:
        return wanted["v6"] == host
    name = wanted["name"].removeprefix("*").lstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _in_network(host: str, network: str) -> bool:
    import ipaddress  # only where a network is named: loading it takes time at every start

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    return host == "localhost" or host == "::1" or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _authorization(parts: urllib.parse.SplitResult) -> str:
    if parts.username is None:
        return ""
    words = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    return "Basic " + base64.b64encode(":".join(words).encode()).decode()
