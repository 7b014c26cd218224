"""The API as uvicorn starts it: `uvicorn api.app:app`."""

import sys

from api.service import create_app
from core.errors import SettingsError
from core.settings import load_settings

try:
    _settings = load_settings()
except SettingsError as error:
    sys.exit(f"Settings: {error}")

app = create_app(_settings)
