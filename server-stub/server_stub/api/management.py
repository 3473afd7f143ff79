# SPDX-License-Identifier: Apache-2.0
"""The management API as a whole: the log-in, the laboratory's journal, and the routes of every noun."""

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server_stub.api import artifacts, deployments, devices
from server_stub.api.calls import Call, endpoint, for_user, read_after
from server_stub.clock import now
from server_stub.domain import tokens
from server_stub.domain.users import matches, read_basic
from server_stub.errors import Unauthorized
from server_stub.storage import users


def login(call: Call) -> Response:
    name, password = read_basic(call.header("authorization"))
    with call.services.database.reading() as connection:
        remembered = users.password_of(connection, name)
    if remembered is None or not matches(password, remembered):
        raise Unauthorized("The name or the password is wrong.")
    return Response(tokens.for_user(call.services.secret, name, now()), media_type="application/jwt")


def journal(call: Call) -> Response:
    return JSONResponse(call.services.journal.after(read_after(call)))


routes = [
    Route("/api/management/v1/useradm/auth/login", endpoint(login), methods=["POST"]),
    Route("/api/management/v1/lab/journal", for_user(journal), methods=["GET"]),
    *devices.routes,
    *artifacts.routes,
    *deployments.routes,
]
