# SPDX-License-Identifier: Apache-2.0
"""Users and tokens: the log-in, who may log in, and tokens for programs."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response
from pydantic import Field
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from server_stub.api.kit import (
    CREATED,
    Admin,
    Model,
    Name,
    ServicesDep,
    Text,
    Viewer,
    basic_scheme,
    created,
    refusals,
    router,
)
from server_stub.clock import now, stamp
from server_stub.domain import tokens
from server_stub.domain import users as rules
from server_stub.domain.users import Role, User
from server_stub.errors import BadInput, Malformed, NotFound, TooMany, Unauthorized, Unprocessable
from server_stub.services import Services
from server_stub.storage import users
from server_stub.storage.users import Token

ROOT = "/api/management/v1/useradm"
routes = router(ROOT, "users", 401, 403)
RoleName = Literal["read-only", "deployer", "admin"]


class UserOut(Model):
    id: str
    email: str = Field(description="the name, where Mender's tools look for it")
    role: RoleName
    created_ts: str


class UserIn(Model):
    name: Name | None = None
    email: Name | None = None
    password: Annotated[Text, Field(max_length=rules.LONGEST_PASSWORD)]
    role: RoleName = "admin"


class ChangeIn(Model):
    password: Annotated[Text, Field(max_length=rules.LONGEST_PASSWORD)] | None = None
    role: RoleName | None = None


class TokenIn(Model):
    name: Name
    expires_in: Annotated[int, Field(ge=1, le=366 * 86400)] = Field(default=30 * 86400, description="seconds")
    role: RoleName | None = Field(default=None, description="no more than the user's own, which is meant if not said")


class TokenOut(Model):
    id: str
    name: str
    role: RoleName
    created_ts: str
    expiration_date: str


@routes.post(
    "/auth/login",
    response_class=Response,
    responses={200: {"content": {"application/jwt": {"schema": {"type": "string"}}}, "description": "The token."}},
)
async def login(
    request: Request,
    services: ServicesDep,
    _: Annotated[object, Depends(basic_scheme)],
    role: Annotated[RoleName | None, Query(description="no more than this")] = None,
) -> Response:
    """A token for a name and a password."""
    name, password = rules.read_basic(request.headers.get("authorization"))
    token = await begin_session(services, request, name, password, Role(role) if role else None)
    return Response(token, media_type="application/jwt")


async def begin_session(services: Services, request: Request, name: str, password: str, wanted: Role | None) -> str:
    """Check a password and give out a token. Raises Unauthorized, TooMany."""
    found = await _known(services, request.client.host if request.client else "", name, password)
    if rules.is_dated(found.password):
        renewed = replace(found, password=await run_in_threadpool(rules.remember, password))
        await services.write(partial(users.save, user=renewed))
    role = found.role if wanted is None or not found.role.covers(wanted) else wanted
    return await _give(services, found.name, None, role, tokens.LIFE)


async def _known(services: Services, address: str, name: str, password: str) -> User:
    """The user with this name and password. Few are looked at at once, and whether one more may be is asked last: each
    takes 64 MiB, and those that come together would all be let pass before the first has failed."""
    async with services.hashing:
        if not services.guards.may_try(address):
            raise TooMany("Too many log-ins have failed: wait a minute.")
        found = await services.read(partial(users.by_name, name=name)) if "\0" not in name else None
        if not await run_in_threadpool(rules.matches, password, found.password if found else None) or found is None:
            services.guards.failed(address)
            raise Unauthorized("The name or the password is wrong.")
        return found


@routes.post("/auth/logout", status_code=204)
async def logout(services: ServicesDep, user: Viewer) -> None:
    """Let the token that asks count no more."""
    await services.write(partial(users.remove_token, token=user.token, user=user.name))


@routes.get("/users", response_model=list[UserOut])
async def list_all(services: ServicesDep, _: Admin) -> Any:
    return [_shown(one) for one in await services.read(users.listed)]


@routes.post("/users", status_code=201, response_class=Response, responses={**CREATED, **refusals(422)})
async def add(services: ServicesDep, _: Admin, asked: UserIn) -> Response:
    name = asked.name or asked.email
    if not name:
        raise Malformed('A user needs a "name".')
    _checked(rules.check_name, name)
    remembered = await _remembered(asked.password)
    await services.write(partial(users.add, user=User(name, remembered, Role(asked.role), stamp(now()))))
    return created(f"{ROOT}/users/{name}")


@routes.get("/users/{name}", response_model=UserOut, responses=refusals(404))
async def get_one(services: ServicesDep, user: Viewer, name: Text) -> Any:
    if name == "me":
        name = user.name
    elif name != user.name and user.role is not Role.ADMIN:
        raise NotFound("There is no such user.")
    return _shown(await services.read(lambda link: _existing(link, name)))


@routes.put("/users/{name}", status_code=204, responses=refusals(404, 422))
async def change(services: ServicesDep, _: Admin, name: Text, asked: ChangeIn) -> None:
    """Give a user another password or role; a new password ends all sessions."""
    remembered = None if asked.password is None else await _remembered(asked.password)

    def job(link: Connection) -> None:
        found = _existing(link, name)
        role = Role(asked.role) if asked.role else found.role
        _keep_an_admin(link, found, role)
        users.save(link, replace(found, role=role, password=remembered or found.password))
        if remembered:
            users.remove_tokens(link, name)

    await services.write(job)


@routes.delete("/users/{name}", status_code=204, responses=refusals(404, 422))
async def remove(services: ServicesDep, _: Admin, name: Text) -> None:
    """Remove a user with all tokens."""

    def job(link: Connection) -> None:
        _keep_an_admin(link, _existing(link, name), None)
        users.remove(link, name)

    await services.write(job)


@routes.get("/settings/tokens", response_model=list[TokenOut])
async def list_tokens(services: ServicesDep, user: Viewer) -> Any:
    """The user's own named tokens."""
    return [
        {
            "id": one.id,
            "name": one.name,
            "role": one.role,
            "created_ts": one.created,
            "expiration_date": one.expires,
        }
        for one in await services.read(partial(users.tokens_of, user=user.name))
    ]


@routes.post(
    "/settings/tokens",
    response_class=Response,
    responses={
        200: {"content": {"application/jwt": {"schema": {"type": "string"}}}, "description": "The token."},
        **refusals(422),
    },
)
async def add_token(services: ServicesDep, user: Viewer, asked: TokenIn) -> Response:
    """A named token, for a program."""
    role = Role(asked.role) if asked.role else user.role
    if not user.role.covers(role):
        raise Unprocessable(f"A token goes no further than who asks for it, which is {user.role}.")
    if user.local:
        raise Unprocessable("Log in as a user: a token belongs to one.")
    life = timedelta(seconds=asked.expires_in)
    return Response(await _give(services, user.name, asked.name, role, life), media_type="application/jwt")


@routes.delete("/settings/tokens/{token_id}", status_code=204, responses=refusals(404))
async def remove_token(services: ServicesDep, user: Viewer, token_id: Text) -> None:
    if not await services.write(partial(users.remove_token, token=token_id, user=user.name)):
        raise NotFound("There is no such token.")


async def _give(services: Services, user: str, name: str | None, role: Role, life: timedelta) -> str:
    moment = now()
    token = Token(str(uuid.uuid4()), user, name, role, stamp(moment), stamp(moment + life))
    await services.write(partial(users.add_token, token=token, now=stamp(moment)))
    return tokens.for_user(services.secret, user, token.id, role, moment, moment + life)


def _checked(check: Callable[[str], str], text: str) -> str:
    """What the command line's rule says of a text, as an answer to a request. Raises Malformed."""
    try:
        return check(text)
    except BadInput as problem:
        raise Malformed(str(problem)) from None


async def _remembered(password: str) -> str:
    return await run_in_threadpool(rules.remember, _checked(rules.check_password, password))


def _existing(link: Connection, name: str) -> User:
    found = users.by_name(link, name)
    if found is None:
        raise NotFound("There is no such user.")
    return found


def _keep_an_admin(link: Connection, user: User, role: Role | None) -> None:
    if user.role is Role.ADMIN and role is not Role.ADMIN and users.admins(link) == 1:
        raise Unprocessable("This is the last user who may do everything: make another one first.")


def _shown(user: User) -> dict[str, Any]:
    return {"id": user.name, "email": user.name, "role": user.role, "created_ts": user.created}
