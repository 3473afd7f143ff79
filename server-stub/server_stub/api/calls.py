# SPDX-License-Identifier: Apache-2.0
"""From a request to a plain function and back: bounded bodies, worker threads, who asks, pages, errors as JSON.

Every endpoint but the streaming ones is a synchronous function of a Call: it may use the database without holding
up other requests.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server_stub.domain import jsontext, tokens
from server_stub.errors import Malformed, Refusal, TooLarge, Unauthorized
from server_stub.lab.journal import name_device
from server_stub.services import Services
from server_stub.storage import devices
from server_stub.storage.page import Page

BODY_LIMIT = 1 << 20
# A client that is cut off while sending sees a broken connection instead of the answer: hear it out, within reason.
PATIENCE = 16 * BODY_LIMIT
LONGEST_PAGE = 500


@dataclass(frozen=True, slots=True)
class Call:
    request: Request
    body: bytes
    services: Services

    def json(self) -> dict[str, Any]:
        return jsontext.parse_object(self.body, "The body")

    def header(self, name: str) -> str | None:
        return self.request.headers.get(name)

    def query(self, name: str) -> str | None:
        return self.request.query_params.get(name)

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])


Handler = Callable[[Call], Response]
OwnedHandler = Callable[[Call, str], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


def services_of(request: Request) -> Services:
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


def endpoint(handler: Handler) -> Endpoint:
    async def serve(request: Request) -> Response:
        call = Call(request, await _read_body(request), services_of(request))
        return await run_in_threadpool(handler, call)

    return serve


def for_device(handler: OwnedHandler) -> Endpoint:
    """Only for a device whose token still counts; the handler gets the device's id."""

    def checked(call: Call) -> Response:
        bearer = tokens.read_device(call.services.secret, call.header("authorization"))
        name_device(call.request.scope, bearer.subject)
        with call.services.database.reading() as connection:
            if not devices.is_accepted(connection, bearer.subject, bearer.token_id):
                raise Unauthorized("The device is no longer accepted: it must ask for a new token.")
        return handler(call, bearer.subject)

    return endpoint(checked)


def for_user(handler: Handler) -> Endpoint:
    def checked(call: Call) -> Response:
        check_user(call.request)
        return handler(call)

    return endpoint(checked)


def check_user(request: Request) -> None:
    tokens.read_user(services_of(request).secret, request.headers.get("authorization"))


def read_page(call: Call) -> Page:
    page = Page(_number(call, "page", Page().number), _number(call, "per_page", Page().size))
    if page.number < 1 or not 1 <= page.size <= LONGEST_PAGE:
        raise Malformed(f'"page" starts at 1 and "per_page" is at most {LONGEST_PAGE}.')
    return page


def read_after(call: Call) -> int:
    return _number(call, "after", 0)


def paged(content: list[dict[str, Any]], total: int) -> Response:
    return JSONResponse(content, headers={"X-Total-Count": str(total)})


def done() -> Response:
    return Response(status_code=204)


def created(location: str) -> Response:
    return Response(status_code=201, headers={"Location": location})


def answer_refusal(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return JSONResponse({"error": str(refusal)}, status_code=refusal.status)


def answer_http_error(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    return JSONResponse({"error": problem.detail}, status_code=problem.status_code, headers=problem.headers)


def answer_nobody(_request: Request, _gone: Exception) -> Response:
    """The client went away in the middle of its request; the number is for the journal alone."""
    return Response(status_code=499)


def answer_defect(_request: Request, _defect: Exception) -> Response:
    return JSONResponse({"error": "The server made a mistake; its log says which."}, status_code=500)


def _number(call: Call, name: str, default: int) -> int:
    text = call.query(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Malformed(f'"{name}" must be a number.')
    return int(text)


async def _read_body(request: Request) -> bytes:
    kept, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= BODY_LIMIT:
            kept += chunk
        elif size > PATIENCE:
            break
    if size > BODY_LIMIT:
        raise TooLarge(f"The body is larger than {BODY_LIMIT} bytes.")
    return bytes(kept)
