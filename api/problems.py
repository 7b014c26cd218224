"""Every error as RFC 9457 problem details with a code, whoever raised it."""

import logging
from collections.abc import Sequence
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

STATUS = {
    "source_not_allowed": 400,
    "source_scheme_unsupported": 400,
    "unauthorized": 401,
    "source_not_found": 404,
    "run_not_found": 404,
    "outcome_not_found": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "already_resolved": 409,
    "not_unconfirmed": 409,
    "too_many_alerts": 409,
    "source_changed": 409,
    "request_too_large": 413,
    "invalid_request": 422,
    "source_invalid": 422,
    "slack_not_configured": 422,
    "too_many_runs": 429,
    "internal_error": 500,
    "settings_invalid": 500,
    "source_forbidden": 502,
    "source_unreachable": 502,
    "interrupted": 503,
    "ledger_unavailable": 503,
    "orchestrator_unreachable": 503,
}
"""The HTTP status of each code."""

AGAIN_SECONDS = 10
"""After so long another request has a chance: a run takes seconds, or a second for each alert."""

EXAMPLES = {
    "source_not_allowed": "s3://b/x: ALLOWED_SOURCES has no prefix of it: name another source, or add one",
    "source_scheme_unsupported": "scheme 'ftp' is not supported: use file://, gs:// or s3://",
    "unauthorized": "The Authorization header must carry the API_TOKEN (scheme Bearer)",
    "source_not_found": "gs://bucket/status.parquet: no such object, folder or bucket",
    "run_not_found": "No run '42' is in the ledger; GET /runs lists the runs that are",
    "outcome_not_found": "No at_risk alert of account 'ACC-1' in 2026-01-01 is in the ledger;"
    " GET /outcomes lists the alerts that are",
    "already_resolved": "The at_risk alert of account 'ACC-1' in 2026-01-01 was resolved before"
    " (resolved_delivered); nothing was changed",
    "not_unconfirmed": "The at_risk alert of account 'ACC-1' in 2026-01-01 is sent, not unconfirmed;"
    " nothing was changed",
    "too_many_alerts": "6000 alerts would be sent, more than MAX_ALERTS_PER_RUN (5000), so none was;"
    " check the source, or raise the limit",
    "source_changed": "gs://bucket/x.parquet was replaced while the source was read: run the month again",
    "request_too_large": "The body is larger than 262144 bytes",
    "invalid_request": "month: month must be the first day of a month: 2026-01-01, not 2026-01-15",
    "source_invalid": "status.parquet: column arr is missing",
    "slack_not_configured": "No Slack webhook: set SLACK_WEBHOOK_BASE_URL or SLACK_WEBHOOK_URL,"
    " or ask for a dry run",
    "too_many_runs": "As many runs are under way and waiting as this service takes; ask again soon",
    "internal_error": "A defect of this service; its log says more",
    "source_forbidden": "gs://bucket/status.parquet: the store refused the credentials, or there are none",
    "source_unreachable": "gs://bucket/status.parquet: no answer in 60 s (SOURCE_TIMEOUT_SECONDS)",
    "interrupted": "The run was told to stop before it was over; run the month again",
    "ledger_unavailable": "The ledger sqlite:////data/risk_alerts.db can't be used: disk I/O error."
    " Check DATABASE_URL, its disk and its permissions",
    "orchestrator_unreachable": "No Prefect API answers at http://127.0.0.1:4200/api: Connection refused",
}
"""What a detail looks like, for OpenAPI."""


_NOT_JSON = "the body: must be JSON, sent with the header Content-Type: application/json"
_NOT_FOUND = "No such path; GET /docs describes those that there are, GET /runs lists the runs"


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(default="about:blank")
    title: str = Field(description="What the code means, in words.")
    status: int
    code: str = Field(description="What went wrong, for a program.")
    detail: str = Field(description="What went wrong and what to do, for a person.")
    run_id: str | None = Field(default=None, description="The run that was begun, stored as failed.")


class ProblemResponse(JSONResponse):
    """Problem details as they go out."""

    media_type = MEDIA_TYPE


def problem(
    code: str, detail: str, *, status: int | None = None, run_id: str | None = None
) -> ProblemResponse:
    """Answer with a problem; its status is that of its code unless another is given."""
    body = _describe_problem(code, detail, status, run_id)
    headers = {
        HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
        HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": str(AGAIN_SECONDS)},
    }.get(body["status"])
    return ProblemResponse(body, status_code=body["status"], headers=headers)


def problem_or_page(request: Request, code: str, detail: str, *, run_id: str | None = None) -> Response:
    """Return the problem to a program, and as a page to a browser."""
    if wants_page(request):
        return page(request, "error.html", STATUS.get(code, 500), title=code, message=redact(detail))
    return problem(code, detail, run_id=run_id)


def _describe_problem(
    code: str, detail: str, status: int | None = None, run_id: str | None = None
) -> dict[str, Any]:
    return Problem(
        title=code.replace("_", " ").capitalize(),
        status=status or STATUS.get(code, 500),
        code=code,
        detail=redact(detail),
        run_id=run_id,
    ).model_dump(exclude_none=True)


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Describe the problems of an endpoint for OpenAPI, by status."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(STATUS[code], []).append(code)
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in names),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {code: {"value": _describe_problem(code, EXAMPLES[code])} for code in names},
                }
            },
        }
        for status, names in sorted(by_status.items())
    }


def answer_with_problems(app: FastAPI) -> None:
    """Have every error leave the app as a problem: ours, FastAPI's, the router's and defects."""

    @app.exception_handler(RiskAlertsError)
    def _known(request: Request, error: RiskAlertsError) -> Response:
        return problem_or_page(request, error.code, error.message, run_id=error.run_id)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> ProblemResponse:
        errors = error.errors()
        if any(item["loc"] == ("body",) for item in errors) and not _is_json(request):
            return problem("invalid_request", _NOT_JSON)
        return problem("invalid_request", "; ".join(_describe(errors)))

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> ProblemResponse:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # A body that FastAPI cannot even begin to read: not UTF-8, or JSON nested without end.
            return problem("invalid_request", "the body: cannot be read as JSON in UTF-8")
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Starlette names the methods of the first route with this path, and each of ours has one.
            allowed = ", ".join(_methods(app, request))
            answer = problem("method_not_allowed", f"This path does not take {request.method}; use {allowed}")
            answer.headers["Allow"] = allowed
            return answer
        code = HTTPStatus(error.status_code).name.lower()
        detail = _NOT_FOUND if error.status_code == HTTPStatus.NOT_FOUND else str(error.detail)
        return problem(code, detail, status=error.status_code)

    @app.exception_handler(Exception)
    def _defect(_request: Request, error: Exception) -> ProblemResponse:
        # Its traceback is the server's to log: Starlette raises it again once this has answered.
        logger.error("A defect: %s", type(error).__name__)
        return problem("internal_error", "A defect of this service; its log says more")


def _methods(app: FastAPI, request: Request) -> list[str]:
    """List the methods that the path of a request takes."""
    asked = [{**request.scope, "method": method} for method in HTTPMethod]
    taken = [scope for scope in asked if any(route.matches(scope)[0] is Match.FULL for route in app.routes)]
    methods = {scope["method"] for scope in taken}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _describe(errors: Sequence[Any]) -> list[str]:
    """Say what is wrong with each field, without echoing its value: it may hold a credential."""
    described = []
    for item in errors:
        place = ".".join(str(part) for part in item["loc"][1:]) or "the body"
        message = str(item["msg"]).removeprefix("Value error, ")
        if item["type"] == "json_invalid":
            place, message = "the body", f"not JSON at character {item['loc'][-1]}"
        described.append(f"{place}: {message}")
    return described
