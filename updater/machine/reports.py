# SPDX-License-Identifier: Apache-2.0
"""What the server hears of an update, and how long it is tried to make it hear."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from updater.errors import DeploymentAborted, ServerError
from updater.machine.backoff import delays
from updater.machine.steps import Event
from updater.ports import Clock, Marks
from updater.server.session import Session

LOG_TRIES = 3
TOO_LARGE = 413  # it would be so again
log = logging.getLogger(__name__)


class Reports(Protocol):
    """Where statuses go."""

    def tell(self, deployment: str, status: str, /, *, must: bool) -> Event:
        """Report on the way: ABORTED if the server has taken the deployment back; FAILED only if it `must` hear."""

    def tell_the_end(self, deployment: str, final: str, /) -> bool:
        """Report success or failure; False if it must be told another time."""


class NoReports:
    """There is no server: standalone mode."""

    def tell(self, *_: str, **__: bool) -> Event:
        return Event.DONE

    def tell_the_end(self, *_: str) -> bool:
        return True


@dataclass(frozen=True)
class ServerReports:
    """Statuses go to the server; `retry_poll` in seconds and `retry_count` as configured."""

    session: Session
    clock: Clock
    marks: Marks
    retry_poll: float
    retry_count: int
    deployment_log: Callable[[str], list[dict[str, str]]] = lambda _: []
    longest: float = float("inf")  # seconds that a server may ask to wait

    def tell(self, deployment: str, status: str, *, must: bool) -> Event:
        pauses = delays(self.retry_poll, self.retry_count)
        if must:
            self.session.forget_token()  # what was installed may have changed who this device is
        while True:
            try:
                self.marks.put(f"report.{status}")
                self.session.status(deployment, status)
                return Event.DONE
            except DeploymentAborted as error:
                log.error("%s", error)
                return Event.ABORTED
            except ServerError as error:
                pause = next(pauses, None) if must else None
                if pause is None:
                    log.warning("the server did not take the status '%s': %s", status, error)
                    return Event.FAILED if must else Event.DONE
                log.warning("the status '%s' waits: %s", status, error)
                self.clock.sleep(self._pause(error, pause))

    def tell_the_end(self, deployment: str, final: str) -> bool:
        pauses = delays(self.retry_poll, self.retry_count)
        while (error := self.tell_once(deployment, final)) is not None:
            pause = next(pauses, None)
            if pause is None:
                log.error("the server does not hear of deployment %s for now: %s", deployment, error)
                return False
            log.warning("the report waits: %s", error)
            self.clock.sleep(self._pause(error, pause))
        return True

    def _pause(self, error: ServerError, pause: float) -> float:
        return max(pause, min(error.retry_after or 0.0, self.longest))

    def tell_once(self, deployment: str, final: str) -> ServerError | None:
        """One try to report an end, with the log of a failure; what is in the way if that may pass."""
        try:
            self.marks.put(f"report.{final}")
            self.session.status(deployment, final)
        except DeploymentAborted as error:
            log.warning("%s", error)
        except ServerError as error:
            # Any other answer may be of something on the way, or of a server that is not quite up.
            if error.status != TOO_LARGE:
                return error
            log.error("the server does not take the report: %s", error)
        else:
            self._send_log(deployment, final)
        return None

    def _send_log(self, deployment: str, final: str) -> None:
        """A help for people; the status has been told, and must not be told again for it."""
        messages = self.deployment_log(deployment) if final == "failure" else []
        if not messages:  # servers refuse an empty log
            return
        for pause in (*delays(self.retry_poll, LOG_TRIES), None):
            try:
                self.session.send_log(deployment, messages)
                return
            except ServerError as error:
                log.warning("the log of deployment %s was not taken: %s", deployment, error)
                if pause is None or error.status == TOO_LARGE:
                    return
                self.clock.sleep(self._pause(error, pause))
