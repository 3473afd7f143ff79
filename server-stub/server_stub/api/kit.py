# SPDX-License-Identifier: Apache-2.0
"""What every route needs: who asks, which page, how a refusal looks, and how all of that is described.

Routes convert and nothing else: a body becomes a value, a job (server_stub.jobs) is read or written, its result becomes
a body. What a route promises in the OpenAPI description is made from the same words that FastAPI checks.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.security import HTTPBasic, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from server_stub.clock import now
from server_stub.domain import tokens
from server_stub.domain.tokens import UserBearer
from server_stub.domain.users import Role
from server_stub.errors import Forbidden, TooMany, Unauthorized
from server_stub.front.guards import TOO_OFTEN
from server_stub.front.quick import bearer_of
from server_stub.lab.journal import name_device
from server_stub.services import Services
from server_stub.storage import users
from server_stub.storage.page import Page

LONGEST_PAGE = 500
# Devices that one request may name: databases take only so many values in a statement.
MOST_NAMED = 20_000
COOKIE = "bootproof_token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# No database takes the character NUL.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", min_length=1, max_length=256)]


class Model(BaseModel):
    """A body. What is not known is passed over, as Mender's servers do."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class Error(Model):
    """Why the server says no, in one sentence."""

    error: str
    request_id: str = Field(default="", description="what the server's log has of this request")


_WHY = {
    400: "The request is not what is described here.",
    401: "The token is missing, forged, expired or revoked.",
    403: "The token does not go so far.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    409: "It contradicts what the server holds.",
    413: "The body is too large.",
    416: "The range begins behind the end.",
    422: "It is impossible in the present state.",
    429: "Asked too often.",
    503: "The server cannot do it now.",
    507: "The server's disk is full.",
}


# By its name, which server_stub.openapi resolves: given the model, FastAPI would build it anew for each refusal of each
# route, which is a third of a start.
_SAID = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


def refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route beside those that every route has."""
    return {code: {"description": _WHY[code], "content": _SAID} for code in (400, 408, 413, 429, 503, *codes)}


def router(prefix: str, tag: str, *codes: int) -> APIRouter:
    return APIRouter(prefix=prefix, tags=[tag], responses=refusals(*codes), redirect_slashes=False)


def services_of(request: Request) -> Services:
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


ServicesDep = Annotated[Services, Depends(services_of)]

# The names under which the description speaks of who may ask.
_device_scheme = HTTPBearer(scheme_name="device", description="what auth_requests has given", auto_error=False)
_user_scheme = HTTPBearer(scheme_name="user", description="what the log-in has given", auto_error=False)
basic_scheme = HTTPBasic(scheme_name="password", auto_error=False)


async def _device(request: Request, services: ServicesDep, _: Annotated[object, Depends(_device_scheme)]) -> str:
    """The id of the device that asks; its token counts as long as its key is accepted."""
    device = await bearer_of(services, request.headers.get("authorization", ""))
    name_device(request.scope, device)
    if not services.guards.may_ask(device):
        raise TooMany(TOO_OFTEN)
    return device


Device = Annotated[str, Depends(_device)]


def _needs(role: Role) -> Callable[..., Awaitable[UserBearer]]:
    async def user(request: Request, services: ServicesDep, _: Annotated[object, Depends(_user_scheme)]) -> UserBearer:
        bearer = await user_of(request, services)
        if not bearer.role.covers(role):
            raise Forbidden(f"This needs the role {role}, and the token has {bearer.role}.")
        return bearer

    return user


Viewer = Annotated[UserBearer, Depends(_needs(Role.READ_ONLY))]
Deployer = Annotated[UserBearer, Depends(_needs(Role.DEPLOYER))]
Admin = Annotated[UserBearer, Depends(_needs(Role.ADMIN))]


async def user_of(request: Request, services: Services) -> UserBearer:
    """Who asks, by the header or by the page's cookie. Raises Unauthorized."""
    header = request.headers.get("authorization")
    if header is None and (kept := request.cookies.get(COOKIE)):
        # A cookie is sent by any page that the browser shows; only ours may change something with it.
        if request.method not in SAFE_METHODS and not comes_from_here(request):
            raise Unauthorized("The request comes from another page.")
        header = f"Bearer {kept}"
    bearer = tokens.read_user(services.secret, header, now())
    if bearer.local:
        return bearer
    role = await services.read(lambda link: users.role_of_token(link, bearer.token, bearer.name))
    if role is None:
        raise Unauthorized("The token has been revoked: log in again.")
    return UserBearer(bearer.name, bearer.token, role, local=False)


def comes_from_here(request: Request) -> bool:
    """Whether one of our own pages sent the request. Browsers say it outright, but not to a server without TLS."""
    said = request.headers.get("sec-fetch-site")
    if said is not None:
        return said == "same-origin"
    origin, host = request.headers.get("origin"), request.headers.get("host")
    return bool(host) and origin == f"{request.url.scheme}://{host}"


def _page(
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = Page().size,
) -> Page:
    return Page(page, per_page)


PageDep = Annotated[Page, Depends(_page)]


def tell_page(request: Request, response: Response, page: Page, total: int) -> None:
    """X-Total-Count, and Link (RFC 8288) to the first, the previous and the next page."""
    response.headers["X-Total-Count"] = str(total)
    wanted = {"first": 1}
    if page.number > 1:
        wanted["prev"] = page.number - 1
    if page.number * page.size < total:
        wanted["next"] = page.number + 1
    others = [(key, value) for key, value in request.query_params.multi_items() if key not in ("page", "per_page")]
    links = []
    for relation, number in wanted.items():
        query = urlencode([*others, ("page", number), ("per_page", page.size)])
        # What was decoded could end the header.
        links.append(f'<{quote(request.url.path)}?{query}>; rel="{relation}"')
    response.headers["Link"] = ", ".join(links)


def created(location: str) -> Response:
    return Response(status_code=201, headers={"Location": quote(location)})


CREATED: Mapping[int | str, dict[str, Any]] = {
    201: {"description": "Made.", "headers": {"Location": {"schema": {"type": "string"}}}}
}
