# SPDX-License-Identifier: Apache-2.0
"""The machine itself: programs, Python for the board, room on the disk, a container engine."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.doctor.finding import Finding, State
from images.bytecode import GUEST_VERSION, interpreter
from images.cache import VARIABLE, Cache, default_root, nearest, unusable
from images.errors import ImageError
from images.run import PACKAGE_OF, environment, run

GIB = 1024**3
# The images with all bad versions, and the disks and logs of a few runs.
ROOM_BYTES = 4 * GIB
DOCKER_SECONDS = 3
MORE_PROGRAMS = {
    "apt-get": "apt",
    "bc": "bc",
    "bison": "bison",
    "dtc": "device-tree-compiler",
    "flex": "flex",
    "gcc": "gcc",
    "qemu-nbd": "qemu-utils",
    "qemu-system-aarch64": "qemu-system-arm",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "unshare": "util-linux",
}


def programs() -> Finding:
    """Are all programs there that build images and run boards?"""
    wanted = PACKAGE_OF | MORE_PROGRAMS
    path = environment()["PATH"]
    missing = sorted(program for program in wanted if shutil.which(program, path=path) is None)
    if not missing:
        return Finding("programs", State.READY, f"All {len(wanted)} are there.")
    packages = " ".join(sorted({wanted[program] for program in missing}))
    install = f"Install them: sudo apt-get install --no-install-recommends {packages}"
    return Finding("programs", State.MISSING, f"{', '.join(missing)} cannot be found.", install)


def python_for_the_board() -> Finding:
    """Is there a Python of the board's version, to compile its programs with?"""
    name = "Python for the board"
    try:
        return Finding(name, State.READY, f"{interpreter()} is Python {GUEST_VERSION}.")
    except ImageError as error:
        return Finding(name, State.MISSING, error.message, error.next_step)


def disk() -> Finding:
    """Is there room for images and runs?"""
    place = default_root()
    obstacle = Cache().obstacle()
    if obstacle:
        return Finding("disk", State.MISSING, f"{obstacle}.", unusable(obstacle).next_step)
    free = shutil.disk_usage(nearest(place)).free
    says = f"{free / GIB:.1f} GiB are free where the images go ({place})."
    if free >= ROOM_BYTES:
        return Finding("disk", State.READY, says)
    step = f"{ROOM_BYTES // GIB} GiB are wanted: free some, or name another place in {VARIABLE}."
    return Finding("disk", State.MISSING, says, step)


def network_of_its_own() -> Finding:
    """May a process have one?  An exploration's boards all look for their server at the same port."""
    name = "networks"
    try:
        run(["unshare", "--map-root-user", "--net", "--", "true"])
        return Finding(name, State.READY, "A process may have a network of its own.")
    except ImageError as error:
        step = "Nothing else needs it; to explore, allow user namespaces (sysctl user.max_user_namespaces), or be root."
        return Finding(name, State.ABSENT, error.message, step)


def docker_engine() -> Finding:
    """Does a container engine answer?  Only scenarios with a server in a container need one."""
    import docker
    from docker.errors import DockerException

    name = "Docker engine"
    try:
        client = docker.from_env(timeout=DOCKER_SECONDS)
        try:
            client.ping()
            return Finding(name, State.READY, f"Version {client.version()['Version']} answers.")
        finally:
            client.close()
    except (DockerException, OSError) as error:
        step = "Nothing in the main job needs it; to have one, install docker.io and start it."
        if Path("/var/run/docker.sock").exists():
            step = "Join the group 'docker', or see why it does not run."
        return Finding(name, State.ABSENT, f"None answers ({type(error).__name__}).", step)
