# SPDX-License-Identifier: Apache-2.0
"""Bodies of deployments: the order as the operator words it, and what is shown of it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from server_stub.api.inventory import Terms
from server_stub.api.kit import Model, Name, Text
from server_stub.domain import jsontext
from server_stub.domain.deployments import Target, TargetKind
from server_stub.domain.rollout import FailureLimit, Phase, check_phases
from server_stub.errors import Malformed
from server_stub.jobs.orders import Order

_UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}
MOST_PHASES = 100
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
MOST_DEVICES = 1_000_000_000


class PhaseIn(Model):
    """A part of the devices: `batch_size` percent or `device_count` of them; the last phase takes all that are left."""

    batch_size: Annotated[float, Field(strict=True, gt=0, le=100)] | None = None
    device_count: Annotated[int, Field(strict=True, ge=1, le=MOST_DEVICES)] | None = None
    start_ts: datetime | None = Field(default=None, description="when it opens; as soon as it may if not said")
    delay: Annotated[int, Field(strict=True, ge=0, le=100_000)] = Field(
        default=0, description="how long after this phase the next opens, unless that says a start"
    )
    delayUnit: Literal["seconds", "minutes", "hours", "days"] = "hours"  # noqa: N815
    pause: bool = Field(default=False, description="wait for the operator before it")

    def phase(self) -> Phase:
        delay = timedelta(seconds=self.delay * _UNITS[self.delayUnit])
        start = _in_utc(self.start_ts) if self.start_ts else None
        return Phase(self.batch_size, self.device_count, start, delay, self.pause)


class FailureLimitIn(Model):
    """Halt by itself: once `count` devices have failed, or `percent` of at least `minimum_devices` that have ended."""

    percent: Annotated[float, Field(strict=True, gt=0, le=100)] | None = None
    count: Annotated[int, Field(strict=True, ge=1, le=MOST_DEVICES)] | None = None
    minimum_devices: Annotated[int, Field(strict=True, ge=1, le=MOST_DEVICES)] = 1

    def limit(self) -> FailureLimit:
        if self.percent is None and self.count is None:
            raise Malformed('A failure limit needs a "percent" or a "count".')
        return FailureLimit(self.percent, self.count, self.minimum_devices)


class FilterIn(Model):
    terms: Terms = Field(min_length=1)


class OrderIn(Model):
    """A deployment of what carries a name; all about the roll-out may be left out."""

    name: Annotated[Text, Field(min_length=1, max_length=1024)]
    artifact_name: Name
    devices: list[Text] | None = Field(default=None, max_length=20_000)
    all_devices: bool = False
    group: Name | None = None
    filter_id: Text | None = None
    filter: FilterIn | None = Field(default=None, description="also for devices that come to fit it later")
    max_devices: Annotated[int, Field(strict=True, ge=1, le=MOST_DEVICES)] | None = Field(
        default=None, description="of a filter: it ends with so many"
    )
    force_installation: bool = False
    start_ts: datetime | None = Field(default=None, description="when the first phase opens")
    phases: list[PhaseIn] = Field(default=[], max_length=MOST_PHASES)
    retries: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    failure_limit: FailureLimitIn | None = None
    update_control_map: dict[Text, Any] | None = None

    def order(self, target: Target) -> Order:
        phases = check_phases([one.phase() for one in self.phases])
        if self.start_ts is not None:
            first = phases[0]
            if first.start is not None:
                raise Malformed('Give "start_ts" once, for the deployment or for its first phase.')
            opened = Phase(first.percent, first.count, _in_utc(self.start_ts), first.delay, first.waits)
            phases = (opened, *phases[1:])
        return Order(
            name=self.name,
            artifact_name=self.artifact_name,
            target=target,
            devices=tuple(self.devices or ()),
            force=self.force_installation,
            phases=phases,
            retries=self.retries,
            failure_limit=self.failure_limit.limit() if self.failure_limit else None,
            control_map=jsontext.checked(self.update_control_map, "The update control map"),
        )

    def target_kind(self) -> TargetKind:
        """Whom it is for; exactly one way of saying it."""
        said = {
            TargetKind.DEVICES: bool(self.devices),
            TargetKind.ALL: self.all_devices,
            TargetKind.GROUP: self.group is not None,
            TargetKind.FILTER: self.filter is not None or self.filter_id is not None,
        }
        kinds = [kind for kind, is_said in said.items() if is_said]
        if len(kinds) != 1 or (self.filter is not None and self.filter_id is not None):
            raise Malformed('Say whom it is for, in one way: "devices", "all_devices", "group", "filter", "filter_id".')
        if self.max_devices is not None and kinds[0] is not TargetKind.FILTER:
            raise Malformed('"max_devices" is for a filter.')
        return kinds[0]


class ActionIn(Model):
    """`paused`: no further device begins; `inprogress`: lift that, or open the phase that waits."""

    status: Literal["aborted", "paused", "inprogress"]


class PhaseOut(Model):
    batch_size: float | None
    device_count: int | None
    start_ts: str | None = Field(description="when it opens or has opened; null while it waits")
    pause: bool


class StatisticsOut(Model):
    status: dict[str, int]
    total_size: int = 0


class DeploymentOut(Model):
    id: str
    name: str
    artifact_name: str
    artifacts: list[str]
    status: Literal["pending", "inprogress", "finished"]
    state: Literal["running", "paused", "halted", "aborted"] = Field(description="what holds the whole of it")
    reason: str | None = Field(description="why it has halted")
    created: str
    finished: str | None
    device_count: int
    max_devices: int
    initial_device_count: int
    force_installation: bool
    groups: list[str]
    filter: FilterIn | None
    dynamic: bool
    phases: list[PhaseOut]
    retries: int
    failure_limit: FailureLimitIn | None
    update_control_map: dict[str, Any] | None
    type: Literal["software"] = "software"
    statistics: StatisticsOut


class StepOut(Model):
    status: str
    substate: str | None
    time: str
    by: Literal["device", "server", "operator"]


class ImageOut(Model):
    id: str


class PartOut(Model):
    """One device's part."""

    id: str
    status: str
    substate: str | None
    created: str
    started: str | None
    finished: str | None
    log: bool
    attempts: int = Field(description="how many have failed and were begun again")
    phase: int | None = Field(description="in which it began, from 0")
    image: ImageOut | None
    history: list[StepOut] = Field(description="every status in the order in which it came")


class DevicePartOut(Model):
    """A deployment of one device."""

    id: str
    deployment: DeploymentOut
    device: PartOut


class IdsIn(Model):
    deployment_ids: list[Text] = Field(min_length=1, max_length=500)


class StatisticsOf(Model):
    deployment_id: str
    stats: dict[str, int]


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise Malformed("A time needs its zone, such as 2026-01-31T12:00:00Z.")
    # Near either end of what can be counted, the same moment in another zone is none.
    if not EARLIEST <= moment <= LATEST:
        raise Malformed(f"A time must be from {EARLIEST.year} to {LATEST.year}.")
    return moment.astimezone(UTC)
