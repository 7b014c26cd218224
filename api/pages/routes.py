"""What a browser posts: logging in and out, and settling an alert."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import Field, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from api.pages.forms import read_form
from api.pages.rendering import page
from api.pages.run_pages import run_page
from api.pages.session import COOKIE, LASTS_SECONDS, Sessions
from api.problems import STATUS
from core.domain import Decision, Settlement, check_by, check_note, parse_month
from core.errors import InvalidRequest, RiskAlertsError
from core.ledger import open_ledger
from core.run import utc_now

router = APIRouter(prefix="/pages", include_in_schema=False)

LOGIN = "/pages/login"
SEE_OTHER = 303

_local = TypeAdapter(Annotated[str, Field(pattern=r"^/runs(?:[/?][^\\\s]*)?$", max_length=2000)])
"""Where someone may be sent after logging in: a page of ours."""


def login_page(after: str, *, wrong: bool = False, status: int = 401) -> HTMLResponse:
    """Ask for the token, and go on to the page `after` with it."""
    answer = page("login.html", status, title="Log in", after=_checked(after), wrong=wrong, logged_in=False)
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


@router.get("/login")
def show_login() -> HTMLResponse:
    """Show the form."""
    return login_page("/runs", status=200)


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Give a cookie for the token."""
    form = await read_form(request)
    after = _checked(form.get("after", ""))
    sessions: Sessions | None = request.app.state.sessions
    if sessions is not None and not sessions.is_token(form.get("token", "")):
        return login_page(after, wrong=True)
    answer = RedirectResponse(after, SEE_OTHER)
    if sessions is not None:
        answer.set_cookie(
            COOKIE,
            sessions.new_cookie(),
            max_age=LASTS_SECONDS,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
    return answer


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """Take the cookie back."""
    await read_form(request)
    answer = RedirectResponse(LOGIN, SEE_OTHER)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


@router.post("/settle")
async def settle(request: Request) -> Response:
    """Settle an alert as the form says, and show the run again; what was refused stands on top of it."""
    form = await read_form(request)
    run_id = form.get("run_id", "")
    return await run_in_threadpool(_settle, request, run_id, form)


def _settle(request: Request, run_id: str, form: dict[str, str]) -> Response:
    ledger = open_ledger(request.app.state.settings.database_url)
    # Before anything is changed: without a run there is no page to come back to.
    ledger.history.run(run_id)
    try:
        ledger.decide(_settlement(form))
    except RiskAlertsError as error:
        return run_page(
            ledger.history,
            run_id,
            logged_in=request.app.state.sessions is not None,
            notice=error.message,
            status=STATUS[error.code],
        )
    return RedirectResponse(f"/runs/{run_id}#unconfirmed", SEE_OTHER)


def _settlement(form: dict[str, str]) -> Settlement:
    try:
        return Settlement(
            account_id=unquote(form["account_id"]),
            month=parse_month(form["month"]),
            decision=Decision(form["decision"]),
            by=check_by(form["by"]),
            note=check_note(form.get("note", "")),
            at=utc_now(),
        )
    except KeyError as missing:
        raise InvalidRequest(f"the form: {missing.args[0]} is missing") from None
    except ValueError as error:
        raise InvalidRequest(str(error)) from None


def _checked(after: str) -> str:
    try:
        return _local.validate_python(after)
    except ValidationError:
        return "/runs"
