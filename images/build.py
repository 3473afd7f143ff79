# SPDX-License-Identifier: Apache-2.0
"""Several stages at once: what would be built and why, and the build itself with independent stages side by side.

U-Boot is compiled while the packages are fetched; one waits for the processor and the other for the network.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from images.cache import MANIFEST, key_of, manifest
from images.run import ending_all
from images.stage import Stage, Workshop

WORKERS = 2
STOP_SECONDS = 15.0  # for what a stage does in Python itself; programs are ended


@dataclass(frozen=True)
class Planned:
    """A stage that is needed, and why it has to be built; `why` is empty if it is in the cache."""

    stage: Stage
    why: str


def needed(stages: Sequence[Stage]) -> list[Stage]:
    """The stages and all they are made from, each once, what is needed first coming first."""
    found: dict[Stage, None] = {}

    def visit(stage: Stage) -> None:
        for part in parts(stage):
            visit(part)
        found[stage] = None

    for stage in stages:
        visit(stage)
    return list(found)


def parts(stage: Stage) -> Iterator[Stage]:
    """The stages that a stage is made from directly."""
    for field in fields(stage):  # type: ignore[arg-type]  # stages are dataclasses
        value = getattr(stage, field.name)
        if isinstance(value, Stage):
            yield value


def plan(workshop: Workshop, stages: Sequence[Stage]) -> list[Planned]:
    """What `build` would do, in order; builds nothing."""
    return [Planned(stage, _why(workshop, stage)) for stage in needed(stages)]


def _why(workshop: Workshop, stage: Stage) -> str:
    inputs = json.loads(json.dumps(stage.ingredients()))
    root = workshop.cache.root
    if (root / f"{stage.name}-{key_of(inputs)}" / MANIFEST).exists():
        return ""
    differing = [_differing(inputs, other) for other in _others(root, stage.name)]
    alike = sorted((names for names in differing if len(names) < len(inputs)), key=len)
    return "changed: " + ", ".join(alike[0]) if alike else "never built"


def _others(root: Path, stage: str) -> Iterator[dict[str, Any]]:
    """The inputs of what is in the cache of the same stage."""
    for directory in root.glob(f"{stage}-*"):
        about = manifest(directory)
        if about.get("stage") == stage:
            yield about.get("inputs", {})


def _differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def build(workshop: Workshop, stages: Sequence[Stage]) -> None:
    """Build stages and all they are made from, two at a time where they do not wait for each other.

    Raises:
        ImageError: one cannot be built (the first to fail); the others are stopped, and nothing half-made is left.
    """
    waiting = needed(stages)
    done: set[Stage] = set()
    running: dict[Future[Path], Stage] = {}
    try:
        while waiting or running:
            ready = [one for one in waiting if done.issuperset(parts(one))]
            for stage in ready[: WORKERS - len(running)]:
                waiting.remove(stage)
                running[_begin(workshop, stage)] = stage
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                done.add(running.pop(future))
    except BaseException:
        with ending_all():
            wait(running, timeout=STOP_SECONDS)
        raise


def _begin(workshop: Workshop, stage: Stage) -> Future[Path]:
    """Build a stage in a thread of its own; a daemon, because it may be waiting for somebody else's lock at the end."""
    future: Future[Path] = Future()

    def work() -> None:
        try:
            future.set_result(workshop.get(stage))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name=f"build-{stage.name}", daemon=True).start()
    return future
