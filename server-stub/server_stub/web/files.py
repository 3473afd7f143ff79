# SPDX-License-Identifier: Apache-2.0
"""The page's own files (style, scripts, icon): read once, and asked for again only when they have changed."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response

from server_stub.errors import NotFound
from server_stub.web.render import SECURITY

routes = APIRouter(include_in_schema=False, redirect_slashes=False)
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    media_type: str
    tag: str


@routes.get("/ui/static/{name:path}")
async def get(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    file = _files().get(name)
    if file is None:
        raise NotFound("There is no such file.")
    headers = {**SECURITY, "Cache-Control": "no-cache", "ETag": file.tag}
    if if_none_match == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


@cache
def _files() -> dict[str, File]:
    return {path.name: _read(path) for path in (Path(__file__).parent / "static").iterdir() if path.suffix in _TYPES}


def _read(path: Path) -> File:
    content = path.read_bytes()
    return File(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
