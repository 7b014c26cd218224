"""The API as uvicorn starts it: `uvicorn api.app:app`."""

from fastapi import FastAPI

from core.domain import SettingsError
from core.runtime import load_settings
from flows.streams import exit_with


def _app() -> FastAPI:
    try:
        settings = load_settings()
    except SettingsError as error:
        exit_with(error)
    import flows.checked_prefect  # noqa: F401, PLC0415  # before anything else imports Prefect
    from api.service import create_app  # noqa: PLC0415  # the same

    return create_app(settings)


app = _app()
