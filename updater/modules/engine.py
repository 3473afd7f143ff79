# SPDX-License-Identifier: Apache-2.0
"""The container engine, as far as the module `docker` needs it; whatever goes wrong there becomes one sentence."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from updater.modules.containers import Container
from updater.modules.problems import ModuleError

if TYPE_CHECKING:
    import docker

LABEL = "bootproof.update"  # on every container of ours; its value says which update made it
CALL_SECONDS = 3600  # loading an image is one call; the client has a limit of its own
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Found:
    """A container as it is now.  `update` is empty for one that is not ours."""

    id: str
    name: str
    image: str
    update: str
    running: bool
    restarting: bool
    exit_code: int
    removes_itself: bool
    restart: dict[str, Any]


def _told(call: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(call)
    def wrapped(*args: P.args, **more: P.kwargs) -> R:
        import docker.errors
        import requests.exceptions

        try:
            return call(*args, **more)
        except docker.errors.APIError as error:
            said = error.explanation or str(error)
            raise ModuleError(f"The container engine refused: {' '.join(str(said).split())}.") from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise ModuleError(f"The container engine failed: {' '.join(str(error).split())}.") from error

    return wrapped


def connect(wait: float = 0.0) -> Engine:
    """The engine of this device (or that of DOCKER_HOST); `wait` is how many seconds it may take to come up.

    Raises:
        ModuleError: no engine answers, or the Python package that speaks to it is not installed.
    """
    try:
        import docker
    except ImportError:
        raise ModuleError("The Python package 'docker' is not installed on this device.") from None
    ends = time.monotonic() + wait
    while True:
        try:
            return Engine(_ask(docker))
        except ModuleError:
            if time.monotonic() >= ends:
                raise
        time.sleep(1)


def _ask(package: Any) -> docker.DockerClient:
    import docker.errors
    import requests.exceptions

    try:
        client: docker.DockerClient = package.from_env(timeout=CALL_SECONDS)
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise ModuleError(f"No container engine answers: {' '.join(str(error).split())}.") from error
    return client


class Engine:
    """
    Raises (from every method):
        ModuleError: what the engine says.
    """

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client
        self._api: Any = client.api

    def close(self) -> None:
        self._client.close()

    # -- containers ----------------------------------------------------------------------------------------------------

    @_told
    def containers(self) -> list[Found]:
        """All, also those that do not run."""
        import docker.errors

        found = []
        for one in self._api.containers(all=True):
            with suppress(docker.errors.NotFound):  # gone in between
                found.append(_found(self._api.inspect_container(one["Id"])))
        return found

    @_told
    def create(self, wanted: Container, update: str) -> str:
        """Makes it, without starting it; returns its id."""
        policy, _, count = wanted.restart.partition(":")
        restart: Any = {"Name": policy, "MaximumRetryCount": int(count or 0)}
        made = self._client.containers.create(
            wanted.image,
            list(wanted.command) or None,
            name=wanted.name or None,
            environment=list(wanted.environment),
            volumes=list(wanted.volumes),
            ports=dict(wanted.ports),
            devices=list(wanted.devices),
            network_mode=wanted.network or None,
            restart_policy=restart,
            privileged=wanted.privileged,
            tty=wanted.tty,
            labels={LABEL: update},
        )
        return str(made.id)

    @_told
    def start(self, container: str) -> None:
        self._api.start(container)

    @_told
    def stop(self, container: str) -> None:
        """Asked first, killed after its own time to end."""
        self._api.stop(container)

    @_told
    def rename(self, container: str, name: str) -> None:
        self._api.rename(container, name)

    @_told
    def set_restart(self, container: str, policy: Any) -> None:
        """`policy` as the engine writes it: `Name` and `MaximumRetryCount`."""
        self._api.update_container(container, restart_policy=policy)

    @_told
    def remove(self, container: str) -> None:
        """Whether it runs or not, and the unnamed volumes that only it has."""
        import docker.errors

        with suppress(docker.errors.NotFound):
            self._api.remove_container(container, force=True, v=True)

    # -- images --------------------------------------------------------------------------------------------------------

    @_told
    def images(self) -> dict[str, list[str]]:
        """The names of every image, by its id."""
        return {
            one["Id"]: [tag for tag in one["RepoTags"] or () if tag != "<none>:<none>"] for one in self._api.images()
        }

    @_told
    def has_image(self, name: str) -> bool:
        import docker.errors

        try:
            self._api.inspect_image(name)
        except docker.errors.ImageNotFound:
            return False
        return True

    @_told
    def load(self, archive: Path) -> None:
        """An archive of `docker save`."""
        with archive.open("rb") as content:
            if not self._client.images.load(content):
                raise ModuleError(f"{archive.name} has no image in it.")

    @_told
    def import_tree(self, archive: Path, name: str) -> None:
        """The tar of a root file system becomes the image `name`."""
        said = self._api.import_image_from_file(str(archive), *_repository_and_tag(name))
        for line in said.splitlines():
            error = json.loads(line).get("error")
            if error:
                raise ModuleError(f"{archive.name} cannot be imported as an image: {error}.")

    @_told
    def pull(self, name: str) -> None:
        self._client.images.pull(name)

    @_told
    def tag(self, image: str, name: str) -> None:
        self._api.tag(image, *_repository_and_tag(name))

    @_told
    def remove_image(self, name: str) -> None:
        """Unless a container is made of it."""
        import docker.errors

        try:
            self._api.remove_image(name)
        except docker.errors.ImageNotFound:
            return
        except docker.errors.APIError as error:
            if error.status_code != 409:
                raise


def _repository_and_tag(name: str) -> tuple[str, str]:
    repository, _, tag = name.rpartition(":")
    if not repository or "/" in tag:  # a colon before a port is none before a tag
        return name, "latest"
    return repository, tag


def _found(one: Mapping[str, Any]) -> Found:
    state, host, config = one["State"], one["HostConfig"], one["Config"]
    policy = host.get("RestartPolicy") or {}
    return Found(
        id=one["Id"],
        name=one["Name"].lstrip("/"),
        image=one["Image"],
        update=(config.get("Labels") or {}).get(LABEL, ""),
        running=bool(state.get("Running")),
        restarting=bool(state.get("Restarting")),
        exit_code=int(state.get("ExitCode") or 0),
        removes_itself=bool(host.get("AutoRemove")),
        restart={
            "Name": policy.get("Name") or "no",
            "MaximumRetryCount": int(policy.get("MaximumRetryCount") or 0),
        },
    )
