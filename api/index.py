"""The address of the service itself."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel

from api.pages.rendering import wants_page

router = APIRouter(tags=["health"])


class Index(BaseModel):
    """Where to go from here: addresses on this host."""

    docs: str
    health: str
    runs: str


@router.get("/", responses={303: {"description": "A browser is led to the runs."}})
def index(request: Request, response: Response) -> Index:
    """Return where documentation, health and runs are; lead a browser to the runs."""
    root = request.scope["root_path"]
    runs = f"{root}/runs"
    if wants_page(request):
        # FastAPI passes a response through as it is; the annotation is what programs get.
        return RedirectResponse(runs, 303, headers={"Vary": "Accept"})  # type: ignore[return-value]
    response.headers["Vary"] = "Accept"
    return Index(docs=f"{root}/docs", health=f"{root}/health", runs=runs)
