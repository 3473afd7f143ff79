# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI description: made by FastAPI from the routes, but for what this server answers otherwise than it would.

A body or parameter that does not fit is a 400 here, as in Mender's API, not FastAPI's 422.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from server_stub.api.kit import Error

TITLE = "Bootproof update server"
ABOUT = "Mender's device and management API, and what a fleet needs beyond it."
_FOREIGN = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> dict[str, Any]:
    """The description, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=TITLE, version=app.version, description=ABOUT, routes=app.routes)
        for path in made["paths"].values():
            for operation in path.values():
                answers = operation.get("responses", {})
                if _is_foreign(answers.get("422")):
                    del answers["422"]
        schemas = made["components"]["schemas"]
        for name in _FOREIGN:
            schemas.pop(name, None)
        schemas[Error.__name__] = Error.model_json_schema(mode="serialization")
        app.openapi_schema = made
    return app.openapi_schema


def _is_foreign(answer: dict[str, Any] | None) -> bool:
    return answer is not None and "HTTPValidationError" in str(answer.get("content"))
