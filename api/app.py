"""The API as uvicorn starts it: `uvicorn api.app:app`."""

from api.service import create_app
from core.domain import SettingsError
from core.runtime import exit_with, load_settings

try:
    app = create_app(load_settings())
except SettingsError as error:
    exit_with(error)
