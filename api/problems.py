"""Every error as RFC 9457 problem details with a code, or as a page for a browser."""

import logging
from http import HTTPMethod, HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api.pages import page, wants_page
from core.domain import RiskAlertsError
from core.runtime import invalid_value, redact

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

BODY_MAX = 256 * 1024
"""The largest body of a request in bytes. A run's request has a few hundred, at most about 25,000."""

RETRY_AFTER_SECONDS = 10
"""Seconds after which a refused client should retry: a run takes seconds, or a second per alert."""

_CODES = {
    400: ("source_not_allowed", "source_scheme_unsupported"),
    401: ("unauthorized",),
    404: ("source_not_found", "run_not_found", "outcome_not_found", "not_found"),
    405: ("method_not_allowed",),
    409: ("too_many_alerts", "source_changed", "already_resolved", "not_unconfirmed"),
    413: ("request_too_large",),
    422: ("invalid_request", "source_invalid", "slack_not_configured"),
    429: ("too_many_runs",),
    500: ("settings_invalid", "internal_error"),
    502: ("source_forbidden", "source_unreachable"),
    503: ("orchestrator_unreachable", "ledger_unavailable", "interrupted"),
}
STATUS = {code: status for status, codes in _CODES.items() for code in codes}
"""The HTTP status of each code."""

DETAILS = {
    "unauthorized": "The Authorization header must carry the API_TOKEN (scheme Bearer)",
    "not_found": "No such path; GET /docs describes the paths that exist, GET /runs lists the runs",
    "request_too_large": f"The body is larger than {BODY_MAX} bytes",
    "internal_error": "Internal error; the log of this service has the cause",
}
"""The detail of each code whose detail does not depend on the request."""


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(default="about:blank")
    title: str = Field(description="The code in words.", examples=["Source not found"])
    status: int = Field(examples=[404])
    code: str = Field(
        description="What happened, for a program.",
        examples=["source_not_found"],
        json_schema_extra={"enum": list(STATUS)},
    )
    detail: str = Field(description="What happened and what to do next, for a person.")
    run_id: str | None = Field(default=None, description="The run that was begun; it is stored as failed.")


PROBLEM: dict[str, Any] = {
    "description": "Problem details, whose `code` says what happened.",
    "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
}
"""The OpenAPI description of every error."""


def problem(request: Request, code: str, detail: str | None = None, run_id: str | None = None) -> Response:
    """Return a problem as JSON to a program, and as a page to a browser."""
    title, status, detail = code.replace("_", " ").capitalize(), STATUS[code], redact(detail or DETAILS[code])
    if wants_page(request):
        return page(request, "error.html", status, title=code, message=detail)
    found = Problem(title=title, status=status, code=code, detail=detail, run_id=run_id)
    return JSONResponse(found.model_dump(exclude_none=True), status, media_type=MEDIA_TYPE)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error with a problem: errors of the domain, of FastAPI and the router, internal errors."""
    # Asynchronous, because a thread for a handler would wait for those that read the ledger.

    @app.exception_handler(RiskAlertsError)
    async def _known(request: Request, error: RiskAlertsError) -> Response:
        answer = problem(request, error.code, error.message, error.run_id)
        if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return answer

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        # The detail shows no value, because a value may be a credential.
        detail = "; ".join(map(_invalid_field, error.errors()))
        # FastAPI leaves a body as bytes unless its content type is JSON.
        if any(isinstance(item["input"], bytes) for item in error.errors()):
            detail = "the body: must be JSON, sent with the header Content-Type: application/json"
        return problem(request, "invalid_request", detail)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # FastAPI could not read the body: it is not UTF-8, or its JSON is nested too deeply.
            return problem(request, "invalid_request", "the body: cannot be read as JSON in UTF-8")
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = ", ".join(method for method in HTTPMethod if _accepts(app, request, method))
            detail = f"This path does not accept {request.method}; use {allowed}"
            answer = problem(request, "method_not_allowed", detail)
            answer.headers["Allow"] = allowed
            return answer
        large = error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return problem(request, "request_too_large" if large else "not_found")

    @app.exception_handler(Exception)
    async def _internal(request: Request, error: Exception) -> Response:
        # The server logs the traceback, because Starlette raises the error again after this answer.
        logger.error("Internal error: %s", type(error).__name__)
        return problem(request, "internal_error")


def _accepts(app: FastAPI, request: Request, method: str) -> bool:
    """Return whether a route accepts this path and method; Starlette itself would look at only one route."""
    # `Gateway` turns each HEAD into a GET.
    scope = {**request.scope, "method": method.replace("HEAD", "GET")}
    return any(route.matches(scope)[0] is Match.FULL for route in app.routes)


def _invalid_field(error: dict[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return f"the body: not JSON at character {error['loc'][-1]}"
    place = ".".join(str(part) for part in error["loc"][1:]) or "the body"
    return f"{place}: {invalid_value(error)}"
