# SPDX-License-Identifier: Apache-2.0
"""The application: puts the parts together for one directory. Owns no behaviour of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect

from server_stub.api import device, download, management
from server_stub.api.calls import answer_defect, answer_http_error, answer_nobody, answer_refusal
from server_stub.errors import Refusal
from server_stub.home import Home
from server_stub.lab.journal import JournalKeeper
from server_stub.services import Services
from server_stub.storage import artifacts, devices
from server_stub.storage.blobs import Blobs
from server_stub.storage.database import Database


def open_services(home: Home, *, accept_all: bool) -> Services:
    services = Services(Database(home.database), Blobs(home.artifacts), home.secret(), accept_all)
    with services.database.reading() as connection:
        known = artifacts.all_ids(connection)
    services.blobs.sweep(known)
    return services


def close_services(services: Services) -> None:
    with services.database.writing() as connection:
        devices.note_check_ins(connection, services.check_ins)
    services.database.close()


def build(services: Services) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        close_services(services)

    app = Starlette(
        routes=[*device.routes, *download.routes, *management.routes],
        middleware=[Middleware(JournalKeeper, journal=services.journal)],
        exception_handlers={
            Refusal: answer_refusal,
            HTTPException: answer_http_error,
            ClientDisconnect: answer_nobody,
            Exception: answer_defect,
        },
        lifespan=lifespan,
    )
    # Clients of the device API follow no redirects: a wrong path is a 404.
    app.router.redirect_slashes = False
    app.state.services = services
    return app
