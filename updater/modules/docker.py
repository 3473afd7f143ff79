# SPDX-License-Identifier: Apache-2.0
"""The module `docker`: other containers run.  `containers.py` says what a payload looks like.

The former containers are stopped and put aside under other names, not removed, until the client cleans up after a
commit; a rollback starts the very same ones again.  Every container of an update carries its label, so that a rollback
finds those it has to remove, whatever had been noted when the power failed.  Put aside, a container loses its restart
policy, or the engine would start it at the next boot; the record has it.

The engine writes its own files, and layers of images not durably, so the whole machine is flushed where a step has to
last.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from updater.modules.containers import Plan, read_plan
from updater.modules.durable import Disk
from updater.modules.engine import Engine, Found, connect
from updater.modules.journal import Facts, Journal
from updater.modules.problems import ModuleError
from updater.modules.protocol import Module
from updater.modules.workdir import Workdir

ENGINE_SECONDS = 120  # how long the engine may take to come up after a boot
NO_RESTART = {"Name": "no", "MaximumRetryCount": 0}
Connect = Callable[[], Engine]


def check(connected: Connect, _: Workdir) -> None:
    """Before anything is downloaded: is there an engine?  The files are left to the client to store."""
    connected().close()


def install(disk: Disk, connected: Connect, work: Workdir) -> None:
    plan = read_plan(work.meta_data(), [path.name for path in work.payload()])
    journal = Journal(disk, work)
    with closing(connected()) as engine:
        journal.roll_back(partial(restore, engine))
        former = _replaced(plan, engine.containers())
        update = secrets.token_hex(8)
        before = engine.images()
        facts = {"update": update, "images": before, "former": [_noted(*one) for one in former]}
        journal.begin(facts)
        _get_images(plan, engine, work)
        journal.begin({**facts, "came": sorted(engine.images().keys() - before.keys())})
        os.sync()
        for one, moved in former:
            _put_aside(engine, one, update if moved else "")
        for container in [engine.create(wanted, update) for wanted in plan.containers]:
            engine.start(container)
        os.sync()


def commit(disk: Disk, connected: Connect, work: Workdir) -> None:
    """Containers that ended with an error, or do so over and over, are not what shall be kept."""
    journal = Journal(disk, work)
    facts = journal.facts()
    if facts is None:
        return
    with closing(connected()) as engine:
        for one in engine.containers():
            if one.update == facts["update"] and (one.restarting or (not one.running and one.exit_code)):
                raise ModuleError(
                    f"The container {one.name} does not stay up: it ended with exit code {one.exit_code}."
                )
    os.sync()
    journal.commit()


def restore(engine: Engine, facts: Facts) -> None:
    """The former containers as they were, and nothing of the update."""
    now = engine.containers()
    for one in now:
        if one.update == facts["update"]:
            engine.remove(one.id)
    there = {one.id: one for one in now}
    for noted in facts["former"]:
        if noted["id"] not in there:
            raise ModuleError(f"The container {noted['name']} cannot be brought back: it is gone.")
    for noted in facts["former"]:
        _bring_back(engine, there[noted["id"]], noted)
    _restore_images(engine, facts["images"], facts.get("came"))
    os.sync()


def sweep(engine: Engine, facts: Facts) -> None:
    """The former containers go, and their images if nothing else has a use for them."""
    aside = {noted["id"]: noted["image"] for noted in facts["former"] if noted["moved"]}
    for container in aside:
        engine.remove(container)
    names = engine.images()
    _remove_images(engine, {image: names.get(image, []) for image in aside.values()})
    os.sync()


def _replaced(plan: Plan, now: Iterable[Found]) -> list[tuple[Found, bool]]:
    """Whom the plan stops, and whether it has to give up its name (it is removed in the end).

    Raises:
        ModuleError: one of them could not be brought back.
    """
    names = {wanted.name for wanted in plan.containers if wanted.name}
    found = []
    for one in now:
        moved = bool(one.update) or one.name in names
        if moved or (plan.alone and one.running):
            if one.removes_itself:
                raise ModuleError(f"The container {one.name} was started with --rm, so it could not be brought back.")
            found.append((one, moved))
    return found


def _noted(one: Found, moved: bool) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "image": one.image,
        "running": one.running,
        "restart": one.restart,
        "moved": moved,
    }


def _get_images(plan: Plan, engine: Engine, work: Workdir) -> None:
    """From the payload; what is not in it from the engine's store, and from a registry at last.

    A name without a digest in Mender's form is asked for at the registry always, as a pull does.
    """
    before = engine.images()
    for archive in plan.archives:
        engine.load(work.files / archive)
    for file, name in plan.imports.items():
        engine.import_tree(work.files / file, name)
    brought = {name for image, names in engine.images().items() for name in names if name not in before.get(image, [])}
    for image in dict.fromkeys(wanted.image for wanted in plan.containers):
        fixed = not plan.alone or "@" in image or bool({image, f"{image}:latest"} & brought)
        if not (fixed and engine.has_image(image)):
            engine.pull(image)


def _put_aside(engine: Engine, one: Found, update: str) -> None:
    """First its policy, so that it is not started again by anybody."""
    engine.set_restart(one.id, NO_RESTART)
    if one.running:
        engine.stop(one.id)
    if update:
        engine.rename(one.id, f"{one.name}.bootproof-{update}")


def _bring_back(engine: Engine, one: Found, noted: dict[str, Any]) -> None:
    if one.name != noted["name"]:
        engine.rename(one.id, noted["name"])
    if one.restart != noted["restart"]:
        engine.set_restart(one.id, noted["restart"])
    if noted["running"] and not one.running:
        engine.start(one.id)


def _restore_images(engine: Engine, before: dict[str, list[str]], came: Sequence[str] | None) -> None:
    """Names go back to the images they were of; images that `came` go, or all new ones if it was cut before that."""
    now = engine.images()
    new = now.keys() - before.keys() if came is None else now.keys() & came
    of_name = {name: image for image, names in now.items() for name in names}
    for image, names in before.items():
        for name in names:
            if image in now and of_name.get(name) != image:
                engine.tag(image, name)
    known = {name for names in before.values() for name in names}
    _remove_images(
        engine,
        {image: [name for name in now[image] if name not in known] for image in new},
    )


def _remove_images(engine: Engine, images: Mapping[str, Iterable[str]]) -> None:
    """Unless a container is made of it.  By its names first: one with several cannot be removed by its id."""
    used = {one.image for one in engine.containers()}
    for image, names in images.items():
        if image not in used:
            for name in names:
                engine.remove_image(name)
            engine.remove_image(image)


def module(disk: Disk, connected: Connect) -> Module:
    def with_engine(work: Workdir, *, after_commit: bool) -> None:
        journal = Journal(disk, work)
        if journal.facts() is None:  # nothing to do; there need not be an engine for that
            return
        with closing(connected()) as engine:
            back = partial(restore, engine)
            if after_commit:
                journal.clean_up(back, partial(sweep, engine))
            else:
                journal.roll_back(back)

    return Module(
        "docker",
        {
            "Download": partial(check, connect),
            "ArtifactInstall": partial(install, disk, connected),
            "ArtifactCommit": partial(commit, disk, connected),
            "ArtifactRollback": partial(with_engine, after_commit=False),
            "Cleanup": partial(with_engine, after_commit=True),
        },
        rollback=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    return module(Disk(), partial(connect, ENGINE_SECONDS)).run(sys.argv[1:] if argv is None else argv)
