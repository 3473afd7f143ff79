# SPDX-License-Identifier: Apache-2.0
"""The log-in and the log-out of a person. The token is kept by the browser in a cookie that no script can read."""

from functools import partial

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from server_stub.api.accounts import begin_session
from server_stub.api.kit import COOKIE, ServicesDep, comes_from_here, user_of
from server_stub.domain import tokens
from server_stub.errors import Forbidden, Malformed, Refusal, TooMany, Unauthorized
from server_stub.storage import users
from server_stub.web.render import LOGIN, Visitor, page, router

routes = router()
LONGEST_NEXT = 2000
FORM = "application/x-www-form-urlencoded"


@routes.get(LOGIN)
async def ask(request: Request, services: ServicesDep, next: str = "/") -> Response:  # noqa: A002
    after = local_path(next)
    try:
        await user_of(request, services)
    except Unauthorized:
        return page(request, "login.html", name="", next=after, problem=None)
    return RedirectResponse(after, status_code=303)


@routes.post(LOGIN)
async def begin(request: Request, services: ServicesDep) -> Response:
    # Somebody else's page must not log a person in as somebody else.
    if not comes_from_here(request):
        raise Forbidden("The log-in was sent from another page: log in here.")
    form = await _form(request)
    name, password, after = (str(form.get(key, "")) for key in ("name", "password", "next"))
    after = local_path(after)
    try:
        token = await begin_session(services, request, name, password, None)
    except (Unauthorized, TooMany) as problem:
        return _again(request, problem, name, after)
    answer = RedirectResponse(after, status_code=303)
    answer.set_cookie(
        COOKIE,
        token,
        max_age=int(tokens.LIFE.total_seconds()),
        path="/",
        secure=_is_secure(request),
        httponly=True,
        samesite="strict",
    )
    return answer


@routes.post("/ui/logout")
async def end(request: Request, services: ServicesDep, user: Visitor) -> Response:
    """Let the token count no more."""
    await services.write(partial(users.remove_token, token=user.token, user=user.name))
    answer = RedirectResponse(LOGIN, status_code=303)
    answer.delete_cookie(COOKIE, path="/", secure=_is_secure(request), httponly=True, samesite="strict")
    return answer


def local_path(text: str) -> str:
    """Where to go after the log-in: a page of this server, whatever somebody has written into the address.

    Browsers take a backslash for a slash and pass over tabs and line ends.
    """
    is_ours = text.startswith("/ui/") and text.isprintable() and "\\" not in text and len(text) <= LONGEST_NEXT
    return text if is_ours and not text.startswith(LOGIN) else "/"


async def _form(request: Request) -> FormData:
    """What the log-in's form sends. A body of several parts may name its own encoding, and some of those take for ever
    to read."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise Malformed(f"The log-in is sent as {FORM}.")
    return await request.form()


def _again(request: Request, problem: Refusal, name: str, after: str) -> Response:
    return page(request, "login.html", problem.status, name=name, next=after, problem=str(problem))


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
