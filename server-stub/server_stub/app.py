# SPDX-License-Identifier: Apache-2.0
"""The application: puts the parts together. Owns no behaviour but how a refusal and a mistake are said."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, NotSupportedError, ProgrammingError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from server_stub import openapi
from server_stub.api import (
    accounts,
    artifacts,
    deployments,
    device,
    devices,
    download,
    groups,
    inventory,
    lab,
    releases,
    system,
)
from server_stub.errors import Busy, Malformed, Refusal
from server_stub.front.bounds import Bounds
from server_stub.front.observe import Observe
from server_stub.front.quick import Quick
from server_stub.lab.injector import Injector
from server_stub.lab.journal import JournalKeeper
from server_stub.services import Services
from server_stub.web import events, files, pages, session

log = logging.getLogger("server_stub")
OpenServices = Callable[[], Awaitable[Services]]


def build(open_services: OpenServices, *, laboratory: bool) -> FastAPI:
    """The framework's part: routes, and answers to what goes wrong in them."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.services = services = await open_services()
        services.open()
        yield
        await services.close()

    app = FastAPI(
        lifespan=lifespan,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        # Clients of the device API follow no redirects: a wrong path is a 404.
        redirect_slashes=False,
        exception_handlers={
            Refusal: _answer_refusal,
            RequestValidationError: _answer_invalid,
            HTTPException: _answer_http_error,
            ClientDisconnect: _answer_nobody,
            DatabaseError: _answer_no_database,
            Exception: _answer_defect,
        },
    )
    modules: Sequence[Any] = (
        device,
        download,
        devices,
        inventory,
        groups,
        artifacts,
        releases,
        deployments,
        accounts,
        system,
        files,
        events,
        session,
        pages,
    )
    for module in modules:
        app.include_router(module.routes)
    if laboratory:
        app.include_router(lab.routes)
    app.openapi = lambda: openapi.describe(app)  # type: ignore[method-assign]
    return app


class Front:
    """The layers around the framework, from the outside in; made once its services are open."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._layers: ASGIApp | None = None
        self._quick: Quick | None = None

    def let_listeners_go(self) -> None:
        """Before the server waits for the requests that run: a page that listens would never end by itself."""
        self._app.state.services.bell.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        await (self._layers or self._make_layers())(scope, receive, send)

    def nothing_for(self, scope: Any) -> bool:
        """Whether the request is a poll that can be answered 204 at once (front.quick), and counts as answered."""
        return self._quick is not None and self._quick.knows(scope)

    def _make_layers(self) -> ASGIApp:
        services: Services = self._app.state.services
        self._quick = Quick(Observe(Bounds(self._app, services), services), services)
        self._layers = self._quick
        if services.laboratory is not None:
            self._layers = Injector(self._layers, services, services.laboratory)
            self._layers = JournalKeeper(self._layers, services.laboratory.journal)
        return self._layers


def _said(request: Request, status: int, sentence: str, headers: Any = None) -> Response:
    content = {"error": sentence, "request_id": request.scope.get("request_id", "")}
    return JSONResponse(content, status_code=status, headers=headers)


async def _answer_refusal(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return _said(request, refusal.status, str(refusal), refusal.headers)


async def _answer_invalid(request: Request, invalid: Exception) -> Response:
    """The first thing that is wrong, and where."""
    assert isinstance(invalid, RequestValidationError)
    first = invalid.errors()[0]
    where = ".".join(
        str(one) for one in first["loc"][1:] if not isinstance(one, int) or first["type"] != "json_invalid"
    )
    place = f'"{where}"' if where else f"The {first['loc'][0]}"
    return _said(request, Malformed.status, f"{place} is not as it must be: {first['msg']}.")


async def _answer_http_error(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    headers = dict(problem.headers or {})
    if problem.status_code == 405 and (methods := _methods_at(request)):
        headers["Allow"] = ", ".join(methods)
    # The framework's own words are no sentence.
    nowhere = problem.status_code == 404 and problem.detail == "Not Found"
    sentence = "There is nothing at this address." if nowhere else str(problem.detail)
    return _said(request, problem.status_code, sentence, headers)


def _methods_at(request: Request) -> list[str]:
    """What may be asked at this address; the framework itself names only the methods of one of its routes."""
    template = getattr(request.scope.get("route"), "path", "")
    described = request.app.openapi()["paths"].get(template, {})
    return sorted(method.upper() for method in described)


async def _answer_nobody(_request: Request, _gone: Exception) -> Response:
    """The client went away in the middle of its request; the number is for the journal alone."""
    return Response(status_code=499)


async def _answer_no_database(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, DatabaseError)
    if isinstance(problem, IntegrityError | DataError | ProgrammingError | NotSupportedError):
        # The database does answer, and what it was asked is wrong.
        raise problem
    log.error("the database does not answer: %s", str(problem.orig).splitlines()[0])
    return _said(request, Busy.status, "The database does not answer: come back later.", Busy.headers)


async def _answer_defect(request: Request, _defect: Exception) -> Response:
    return _said(request, 500, "The server made a mistake; its log says which.")
