# SPDX-License-Identifier: Apache-2.0
"""How a page comes to be: templates, the visitor, the headers that every page carries, and refusals as pages."""

from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.exc import OperationalError

from server_stub.api.kit import ServicesDep, Viewer
from server_stub.domain.tokens import UserBearer
from server_stub.domain.users import Role
from server_stub.errors import Refusal, Unauthorized
from server_stub.storage.page import Page
from server_stub.web import words

LOGIN = "/ui/login"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
}
_HEADINGS = {404: "Nothing here", 503: "Not now"}
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route for people: what is refused is a page, and who is not logged in is sent to the log-in."""

    def get_route_handler(self) -> Handler:
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            response = await _answered(answer, request)
            response.headers.update({**SECURITY, "Cache-Control": "no-store"})
            return response

        return handler


def router() -> APIRouter:
    return APIRouter(
        route_class=PageRoute, include_in_schema=False, redirect_slashes=False, default_response_class=HTMLResponse
    )


async def _answered(answer: Handler, request: Request) -> Response:
    try:
        return await answer(request)
    except Unauthorized:
        return to_login(request)
    except Refusal as refusal:
        return refused(request, refusal.status, str(refusal))
    except RequestValidationError:
        return refused(request, 400, "The address is not one of this page's: a part of it has a wrong form.")
    except OperationalError:
        return refused(request, 503, "The database does not answer: come back later.")


async def _visitor(request: Request, services: ServicesDep, user: Viewer) -> UserBearer:
    request.state.visitor = user
    # Noted before the page looks at anything: what changes while it looks may be told again, but is not missed.
    request.state.revisions = dict(services.recent.revisions)
    return user


Visitor = Annotated[UserBearer, Depends(_visitor)]


def to_login(request: Request) -> Response:
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    after = f"?{urlencode({'next': wanted})}" if request.method == "GET" and wanted != "/" else ""
    return RedirectResponse(LOGIN + after, status_code=303)


def refused(request: Request, status: int, sentence: str) -> Response:
    return page(request, "refused.html", status, heading=_HEADINGS.get(status, "Not possible"), sentence=sentence)


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page from its template; what the visitor may do is known to it as `may_deploy` and `may_decide`."""
    visitor: UserBearer | None = getattr(request.state, "visitor", None)
    role = visitor.role if visitor else None
    shown = (
        _environment()
        .get_template(template)
        .render(
            path=request.url.path,
            revisions=getattr(request.state, "revisions", {}),
            visitor=visitor.name if visitor else None,
            may_deploy=role is not None and role.covers(Role.DEPLOYER),
            may_decide=role is not None and role.covers(Role.ADMIN),
            **context,
        )
    )
    return HTMLResponse(shown, status)


def paging(request: Request, page: Page, total: int) -> dict[str, Any]:
    """Which part of a list this is, and the addresses of the parts before and after it."""
    first = (page.number - 1) * page.size + 1
    last = min(page.number * page.size, total)
    # From beyond the end one goes back to where something is.
    before = min(page.number - 1, max(-(-total // page.size), 1))
    others = [(key, value) for key, value in request.query_params.multi_items() if key not in ("page", "per_page")]

    def address(number: int) -> str:
        more = [("per_page", page.size)] if page.size != Page().size else []
        return f"{request.url.path}?{urlencode([*others, ('page', number), *more])}"

    return {
        "first": first,
        "last": last,
        "total": total,
        "before": address(before) if page.number > 1 else None,
        "after": address(page.number + 1) if last < total else None,
    }


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        size=words.size,
        label=words.label,
        value=words.value_text,
        kind=words.kind_of,
        status=words.words_of,
        auth=words.auth_words,
        standing=words.standing,
        segments=words.segments,
        summary=words.summary,
        ended=words.ended,
        # A name may hold a slash, and then it is one part of an address all the same.
        part=lambda text: quote(text, safe=""),
    )
    made.globals.update(plural=words.plural)
    return made
