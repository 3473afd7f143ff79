# SPDX-License-Identifier: Apache-2.0
"""Every way in which the server says no. Owns exit codes and HTTP statuses; the sentences come from the caller."""

from typing import ClassVar


class ServerError(Exception):
    """An expected failure: its text is one sentence for the person who must act on it."""

    exit_code: ClassVar[int] = 1


class BadInput(ServerError):
    """The command line asked for something that cannot be done as asked."""

    exit_code = 2


class HostProblem(ServerError):
    """The request was fine, but this machine does not allow it: a taken port, a directory without access."""

    exit_code = 4


class Refusal(ServerError):
    """An answer to a client other than success."""

    status: ClassVar[int] = 400
    headers: ClassVar[dict[str, str]] = {}


class Malformed(Refusal):
    """The request is not what the protocol describes."""

    status = 400


class Unauthorized(Refusal):
    """Who asks is unknown, pending, rejected, or carries a token that no longer counts."""

    status = 401


class Forbidden(Refusal):
    """The link was changed or has expired, or the token does not go so far."""

    status = 403


class NotFound(Refusal):
    """There is no such thing, or not for the one who asks."""

    status = 404


class TooSlow(Refusal):
    """The client did not send what it began to send."""

    status = 408
    headers: ClassVar[dict[str, str]] = {"Connection": "close"}


class Conflict(Refusal):
    """The request contradicts what the server already holds."""

    status = 409


class TooLarge(Refusal):
    """The body is larger than this request may have."""

    status = 413


class Unprocessable(Refusal):
    """Well formed, but impossible in the present state of things."""

    status = 422


class StorageFull(Refusal):
    """The server's disk did not take the bytes."""

    status = 507


class TooMany(Refusal):
    """The client asks more often than it may, or holds more than it may."""

    status = 429
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class Busy(Refusal):
    """The server cannot do it now, but may soon."""

    status = 503
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}
