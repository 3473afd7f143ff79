# SPDX-License-Identifier: Apache-2.0
"""Bodies of the device API. What a device cannot mean is refused; what it says beyond is passed over."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from server_stub.api.kit import Model, Text
from server_stub.api.statuses import ReportedStatus

Said = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", min_length=1)]


class Introduction(Model):
    """Who a device says it is."""

    id_data: str = Field(description="a JSON object of identity attributes, as a text")
    pubkey: str = Field(description="RSA, ECDSA or Ed25519, as PEM (PKIX)")
    tenant_token: str | None = None


class Provides(Model):
    """What a device is and runs; texts beyond these two are what artifacts may depend on."""

    model_config = ConfigDict(extra="allow", frozen=True)
    device_type: Said
    artifact_name: Said

    def texts(self) -> dict[str, str]:
        return {key: value for key, value in self.model_dump().items() if isinstance(value, str)}


class NextIn(Model):
    device_provides: Provides
    update_control_map: bool = False


class Source(Model):
    uri: str
    expire: str


class ArtifactOut(Model):
    id: str
    artifact_name: str
    source: Source
    device_types_compatible: list[str]


class Answer(Model):
    """What a device is to install."""

    id: str
    artifact: ArtifactOut
    update_control_map: dict[str, Any] | None = None


class ControlMap(Model):
    id: str
    update_control_map: dict[str, Any]


class ReportIn(Model):
    status: ReportedStatus
    substate: Annotated[Text, Field(max_length=1024)] | None = Field(
        default=None, description="kept with every report, also with repeated ones"
    )


class LineIn(Model):
    timestamp: str = Field(json_schema_extra={"format": "date-time"})
    level: str
    message: str


class LogIn(Model):
    messages: list[LineIn] = Field(min_length=1)


class AttributeIn(Model):
    name: Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", min_length=1, max_length=512)]
    value: Text | Annotated[float, Field(strict=True, ge=-(2**53), le=2**53)] | list[Text]
    description: str | None = None
