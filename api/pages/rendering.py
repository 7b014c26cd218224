"""How a page becomes an answer: templates that escape all data, and headers that let nothing else in."""

import base64
import hashlib
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.runtime import money, one_line

_FOLDER = Path(__file__).parent
STYLE = (_FOLDER / "style.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    ),
    # Not "no-referrer": with that a form's Origin would be null, and the guard goes by it.
    "Referrer-Policy": "same-origin",
}

_templates = Environment(
    loader=FileSystemLoader(_FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(request: Request, name: str, http_status: int = 200, **values: Any) -> HTMLResponse:
    """Return the page that a template makes of these values, with links below the root of the request."""
    text = _templates.get_template(name).render(style=STYLE, root=request.scope["root_path"], **values)
    return HTMLResponse(text, status_code=http_status, headers=HEADERS)


def wants_page(request: Request) -> bool:
    """Say whether the client would rather have HTML than JSON; who names neither gets JSON."""
    wishes = _qualities(",".join(request.headers.getlist("accept")))
    return wishes.get("text/html", 0) > wishes.get("application/json", 0)


def _qualities(accept: str) -> dict[str, float]:
    """Read an Accept header (RFC 9110, 12.5.1): how much each media type that it names is wanted."""
    found: dict[str, float] = {}
    for wish in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in wish.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            found[kind] = float(quality)
        except ValueError:
            found[kind] = 0.0
    return found


def _clock(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def _month(month: date) -> str:
    return f"{month:%B %Y}"


def _address(text: str) -> str:
    """Write any text as one segment of a path, or one value of a form that no browser changes."""
    return quote(text, safe="", errors="surrogatepass")


_templates.filters |= {
    "clock": _clock,
    "month": _month,
    "money": money,
    "line": lambda text: one_line(str(text)),
    "words": lambda text: str(text).replace("_", " "),
    "number": lambda number: f"{number:,}",
    "address": _address,
}
