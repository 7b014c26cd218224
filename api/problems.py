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

from api.pages.rendering import page, wants_page
from core.domain import RiskAlertsError
from core.runtime import redact

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_PROBLEMS = {
    "source_not_allowed": (
        400,
        "s3://b/x: ALLOWED_SOURCES has no prefix of it: name another source, or add one",
    ),
    "source_scheme_unsupported": (400, "scheme 'ftp' is not supported: use file://, gs:// or s3://"),
    "unauthorized": (401, "The Authorization header must carry the API_TOKEN (scheme Bearer)"),
    "source_not_found": (404, "gs://bucket/status.parquet: no such object, folder or bucket"),
    "run_not_found": (404, "No run '42' is in the ledger; GET /runs lists the runs that are"),
    "outcome_not_found": (
        404,
        (
            "No at_risk alert of account 'ACC-1' in 2026-01-01 is in the ledger;"
            " GET /outcomes lists the alerts that are"
        ),
    ),
    "not_found": (404, "No such path; GET /docs describes the paths that exist, GET /runs lists the runs"),
    "method_not_allowed": (405, "This path does not take DELETE; use GET, HEAD"),
    "already_resolved": (
        409,
        (
            "The at_risk alert of account 'ACC-1' in 2026-01-01 was resolved before"
            " (resolved_delivered); nothing was changed"
        ),
    ),
    "not_unconfirmed": (
        409,
        "The at_risk alert of account 'ACC-1' in 2026-01-01 is sent, not unconfirmed; nothing was changed",
    ),
    "too_many_alerts": (
        409,
        (
            "6000 alerts would be sent, more than MAX_ALERTS_PER_RUN (5000), so none was;"
            " check the source, or raise the limit"
        ),
    ),
    "source_changed": (
        409,
        "gs://bucket/x.parquet was replaced while the source was read: run the month again",
    ),
    "request_too_large": (413, "The body is larger than 262144 bytes"),
    "invalid_request": (422, "month: month must be the first day of a month: 2026-01-01, not 2026-01-15"),
    "source_invalid": (422, "status.parquet: column arr is missing"),
    "slack_not_configured": (
        422,
        "No Slack webhook: set SLACK_WEBHOOK_BASE_URL or SLACK_WEBHOOK_URL, or ask for a dry run",
    ),
    "too_many_runs": (429, "This service has as many runs in progress and waiting as it takes; retry soon"),
    "internal_error": (500, "Internal error; the log of this service has the cause"),
    "settings_invalid": (500, "ARR_THRESHOLD must be a whole number"),
    "source_forbidden": (502, "gs://bucket/status.parquet: the store refused the credentials"),
    "source_unreachable": (502, "gs://bucket/status.parquet: no answer in 60 s (SOURCE_TIMEOUT_SECONDS)"),
    "interrupted": (503, "The run was stopped before it was over; run the month again"),
    "ledger_unavailable": (
        503,
        (
            "The ledger sqlite:////data/risk_alerts.db can't be used: disk I/O error."
            " Check DATABASE_URL, its disk and its permissions"
        ),
    ),
    "orchestrator_unreachable": (
        503,
        "No Prefect API answers at http://127.0.0.1:4200/api: Connection refused",
    ),
}
"""The HTTP status of each code, and an example of its detail for OpenAPI."""

STATUS = {code: status for code, (status, _) in _PROBLEMS.items()}

RETRY_AFTER_SECONDS = 10
"""After so long another request has a chance: a run takes seconds, or a second for each alert."""

_NOT_JSON = "the body: must be JSON, sent with the header Content-Type: application/json"


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(default="about:blank")
    title: str = Field(description="The code in words.")
    status: int
    code: str = Field(description="What happened, for a program.")
    detail: str = Field(description="What happened and what to do next, for a person.")
    run_id: str | None = Field(default=None, description="The run that was begun; it is stored as failed.")


class ProblemResponse(JSONResponse):
    """A response with problem details."""

    media_type = MEDIA_TYPE


def problem(
    code: str, detail: str, *, status: int | None = None, run_id: str | None = None
) -> ProblemResponse:
    """Return a problem as a response, with the status of its code unless `status` is given."""
    body = _problem_details(code, detail, status, run_id)
    headers = {
        HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
        HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": str(RETRY_AFTER_SECONDS)},
    }.get(body["status"])
    return ProblemResponse(body, status_code=body["status"], headers=headers)


def problem_or_page(request: Request, code: str, detail: str, *, run_id: str | None = None) -> Response:
    """Return the problem as JSON to a program, and as a page to a browser."""
    if wants_page(request):
        return page(request, "error.html", STATUS.get(code, 500), title=code, message=redact(detail))
    return problem(code, detail, run_id=run_id)


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the problems of an endpoint by status, as OpenAPI describes them."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(STATUS[code], []).append(code)
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in names),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {
                        name: {"value": _problem_details(name, _PROBLEMS[name][1])} for name in names
                    },
                }
            },
        }
        for status, names in sorted(by_status.items())
    }


def answer_with_problems(app: FastAPI) -> None:
    """Make a problem of every error: those of the domain, FastAPI's, the router's, and internal errors."""

    @app.exception_handler(RiskAlertsError)
    def _known(request: Request, error: RiskAlertsError) -> Response:
        return problem_or_page(request, error.code, error.message, run_id=error.run_id)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> ProblemResponse:
        errors = error.errors()
        if any(item["loc"] == ("body",) for item in errors) and not _is_json(request):
            return problem("invalid_request", _NOT_JSON)
        return problem("invalid_request", "; ".join(map(_invalid_field, errors)))

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> ProblemResponse:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # FastAPI could not even begin to read the body: not UTF-8, or JSON nested without end.
            return problem("invalid_request", "the body: cannot be read as JSON in UTF-8")
        if error.status_code == HTTPStatus.NOT_FOUND:
            return problem("not_found", _PROBLEMS["not_found"][1])
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Starlette names the methods of the first route with this path alone.
            allowed = ", ".join(_methods(app, request))
            answer = problem("method_not_allowed", f"This path does not take {request.method}; use {allowed}")
            answer.headers["Allow"] = allowed
            return answer
        code = HTTPStatus(error.status_code).name.lower()
        return problem(code, str(error.detail), status=error.status_code)

    @app.exception_handler(Exception)
    def _internal(_request: Request, error: Exception) -> ProblemResponse:
        # Starlette raises the error again after this answer, and the server logs its traceback.
        logger.error("Internal error: %s", type(error).__name__)
        return problem("internal_error", _PROBLEMS["internal_error"][1])


def _problem_details(
    code: str, detail: str, status: int | None = None, run_id: str | None = None
) -> dict[str, Any]:
    return Problem(
        title=code.replace("_", " ").capitalize(),
        status=status or STATUS.get(code, 500),
        code=code,
        detail=redact(detail),
        run_id=run_id,
    ).model_dump(exclude_none=True)


def _methods(app: FastAPI, request: Request) -> list[str]:
    """Return the methods that the path of a request takes."""
    scopes = [{**request.scope, "method": method} for method in HTTPMethod]
    taken = {
        scope["method"]
        for scope in scopes
        if any(route.matches(scope)[0] is Match.FULL for route in app.routes)
    }
    return sorted(taken | ({"HEAD"} if "GET" in taken else set()))


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _invalid_field(error: dict[str, Any]) -> str:
    """Return what is wrong with a field, without its value, which may be a credential."""
    if error["type"] == "json_invalid":
        return f"the body: not JSON at character {error['loc'][-1]}"
    place = ".".join(str(part) for part in error["loc"][1:]) or "the body"
    return f"{place}: {str(error['msg']).removeprefix('Value error, ')}"
