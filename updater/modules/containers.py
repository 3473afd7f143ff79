# SPDX-License-Identifier: Apache-2.0
"""What shall run: the meta-data of a `docker` payload as values.

Mender's own form lists images; every container that runs is stopped for them:

    {"containers": ["app@sha256:…", "web:2"], "run_args": "--volume /data:/data"}

Ours names the containers.  Those of the artifact before, and those whose name is taken, are replaced; others stay:

    {"images": [{"file": "rootfs.tar", "import": "app:2"}],
     "containers": [{"name": "app", "image": "app:2", "command": ["/bin/app", "-v"], "environment": {"A": "1"},
                     "volumes": ["/data/app:/data"], "ports": ["8080:80/tcp"], "network": "host", "privileged": false,
                     "restart": "unless-stopped", "run_args": "--device /dev/ttyS0"}]}

Only `image` must be there.  `restart` is `unless-stopped` if nothing is said.  A payload file that `images` imports is
the tar of a root file system and gets the name given; every other one is an archive of `docker save`.  `run_args` are
options of `docker run`, of which those in OPTIONS are understood.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from updater.modules.problems import ModuleError

DEFAULT_RESTART = "unless-stopped"
RESTARTS = ("no", "always", "unless-stopped", "on-failure")
KEYS = frozenset(
    ["name", "image", "command", "environment", "volumes", "ports", "network", "privileged", "restart", "run_args"]
)
OPTIONS: Mapping[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "name": (("--name",), {}),
    "environment": (("-e", "--env"), {"action": "append", "default": []}),
    "volumes": (("-v", "--volume"), {"action": "append", "default": []}),
    "ports": (("-p", "--publish"), {"action": "append", "default": []}),
    "devices": (("--device",), {"action": "append", "default": []}),
    "network": (("--network", "--net"), {}),
    "restart": (("--restart",), {}),
    "privileged": (("--privileged",), {"action": "store_true"}),
    "tty": (("-t", "--tty"), {"action": "store_true"}),
    "detach": (("-d", "--detach"), {"action": "store_true"}),  # they always are
}


@dataclass(frozen=True)
class Container:
    """One that shall run.  An empty name is chosen by the engine."""

    image: str
    name: str = ""
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    ports: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    network: str = ""
    restart: str = "no"
    privileged: bool = False
    tty: bool = False


@dataclass(frozen=True)
class Plan:
    """All that shall run, and what the payload brings for it: archives to load, and names for trees to import."""

    containers: tuple[Container, ...]
    archives: tuple[str, ...] = ()
    imports: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False  # Mender's form: nothing else may run


def read_plan(meta_data: Any, files: Collection[str]) -> Plan:
    """
    Raises:
        ModuleError: it is in neither form, or speaks of files that are not in the payload.
    """
    if not isinstance(meta_data, dict) or not isinstance(meta_data.get("containers"), list):
        raise ModuleError("The artifact's meta-data has no list 'containers'.")
    imports = _imports(meta_data.get("images", []), files)
    listed = meta_data["containers"]
    alone = bool(listed) and all(isinstance(one, str) for one in listed)
    if alone:
        arguments = _run_args(meta_data.get("run_args") or "")
        containers = [_container({"image": one}, {"tty": True, "restart": "no", **arguments}) for one in listed]
    else:
        containers = [_named(one) for one in listed]
    names = [one.name for one in containers if one.name]
    if len(set(names)) != len(names):
        raise ModuleError("Two containers in the artifact's meta-data have the same name.")
    archives = tuple(sorted(set(files) - set(imports)))
    return Plan(tuple(containers), archives, imports, alone)


def _imports(images: Any, files: Collection[str]) -> dict[str, str]:
    if not isinstance(images, list) or not all(isinstance(one, dict) for one in images):
        raise ModuleError("'images' in the artifact's meta-data is not a list of objects.")
    found: dict[str, str] = {}
    for one in images:
        file, name = one.get("file"), one.get("import")
        if not isinstance(file, str) or not isinstance(name, str) or not name or set(one) != {"file", "import"}:
            raise ModuleError("An entry of 'images' in the artifact's meta-data needs 'file' and 'import', no more.")
        if file not in files:
            raise ModuleError(f"The artifact has no file '{file}', which its meta-data speaks of.")
        found[file] = name
    return found


def _named(one: Any) -> Container:
    if not isinstance(one, dict):
        raise ModuleError("'containers' in the artifact's meta-data is neither a list of names nor of objects.")
    unknown = sorted(set(one) - KEYS)
    if unknown:
        raise ModuleError(f"A container in the artifact's meta-data has '{unknown[0]}', which means nothing here.")
    return _container(one, _run_args(one.get("run_args") or ""))


def _container(one: Mapping[str, Any], arguments: Mapping[str, Any]) -> Container:
    """What an object says, and what its `run_args` add; of what can be said only once, the object counts."""

    def words(key: str) -> tuple[str, ...]:
        value = one.get(key, [])
        if key == "environment" and isinstance(value, dict):
            value = [f"{name}={content}" for name, content in value.items()]
        if key == "command" and isinstance(value, str):
            value = shlex.split(value)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ModuleError(f"'{key}' of a container in the artifact's meta-data is not a list of texts.")
        return (*value, *arguments.get(key, ()))

    def word(key: str, default: str = "") -> str:
        value = one.get(key) or arguments.get(key) or default
        if not isinstance(value, str):
            raise ModuleError(f"'{key}' of a container in the artifact's meta-data is not a text.")
        return value

    image = word("image")
    if not image:
        raise ModuleError("A container in the artifact's meta-data has no 'image'.")
    return Container(
        image=image,
        name=word("name"),
        command=words("command"),
        environment=words("environment"),
        volumes=words("volumes"),
        ports=_ports(words("ports")),
        devices=tuple(arguments.get("devices", ())),
        network=word("network"),
        restart=_restart(word("restart", DEFAULT_RESTART)),
        privileged=one.get("privileged") is True or bool(arguments.get("privileged")),
        tty=bool(arguments.get("tty")),
    )


def _restart(said: str) -> str:
    name, _, count = said.partition(":")
    if name not in RESTARTS or (count and (name != "on-failure" or not count.isdigit())):
        raise ModuleError(f"'{said}' is no restart policy; there are {', '.join(RESTARTS)}.")
    return said


def _ports(said: tuple[str, ...]) -> dict[str, Any]:
    """By the port inside; one may be published more than once."""
    found: dict[str, list[Any]] = {}
    for inside, outside in map(_port, said):
        found.setdefault(inside, []).append(outside)
    return {inside: outside if len(outside) > 1 else outside[0] for inside, outside in found.items()}


def _port(said: str) -> tuple[str, Any]:
    """`[[address:]outside:]inside[/protocol]` as the engine's own pair."""
    outside, _, inside = said.rpartition(":")
    address, _, outside = outside.rpartition(":")
    number, _, protocol = inside.partition("/")
    if not number.isdigit() or (outside and not outside.isdigit()) or protocol not in ("", "tcp", "udp", "sctp"):
        raise ModuleError(f"'{said}' is no port: it should be like '8080:80' or '127.0.0.1:5353:53/udp'.")
    host = int(outside) if outside else None
    return f"{number}/{protocol or 'tcp'}", (address, host) if address and host is not None else host


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ModuleError(f"run_args in the artifact's meta-data cannot be used: {message}.")


def _run_args(said: Any) -> dict[str, Any]:
    if not isinstance(said, str):
        raise ModuleError("run_args in the artifact's meta-data is not a text.")
    parser = _Parser(add_help=False, allow_abbrev=False)
    for name, (flags, how) in OPTIONS.items():
        parser.add_argument(*flags, dest=name, **how)
    try:
        parts = shlex.split(said)
    except ValueError as error:
        raise ModuleError(f"run_args in the artifact's meta-data cannot be used: {error}.") from error
    return {key: value for key, value in vars(parser.parse_args(parts)).items() if value}
