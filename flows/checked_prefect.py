"""Import Prefect, which reads its settings at its import; end the process with one line if one is bad.

The package `flows` imports this module first. In a worker and in the `prefect` command, Prefect is imported
before; there, this module checks nothing.
"""

import contextlib
import gc
import io
import os
import re
import sys
import warnings
from pathlib import Path

from pydantic import ValidationError

from core import runtime
from core.domain import SettingsError

DEFAULTS = {
    # No telemetry.
    "DO_NOT_TRACK": "1",
    # Prefect's log goes to its UI, not to the terminal.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
}
"""Defaults of variables that Prefect reads when it is imported."""
# `Path.expanduser` would raise an error if the system does not know the user.
HOME = Path(os.path.expanduser(os.environ.get("PREFECT_HOME", "").strip() or "~/.prefect"))  # noqa: PTH111
PROFILES = Path(os.environ.get("PREFECT_PROFILES_PATH", "").strip() or HOME / "profiles.toml")


def _import_prefect() -> None:
    runtime.clean_variables()
    runtime.prepare_libraries()
    for name, value in DEFAULTS.items():
        os.environ[name] = os.environ.get(name) or value
    if os.path.expanduser("~") == "~":  # noqa: PTH111  # `Path.home` would raise an error
        # Prefect needs a home, also of a user whom the system does not know. Container engines set this one.
        os.environ["HOME"] = "/"
    if "PREFECT_API_URL" not in os.environ and not os.path.exists(HOME):  # noqa: PTH110  # also without access
        # A run needs no home. Below a file, Prefect can neither make a folder nor find a profile.
        os.environ["PREFECT_HOME"] = f"{os.devnull}/prefect"
    # Garbage collection during the import would only cost time.
    gc.disable()
    try:
        # Prefect prints a bad setting with its value before it raises, and warns of a home it cannot make.
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
            import prefect.main  # noqa: F401, PLC0415  # only its effects are needed
    except ImportError:
        raise
    except Exception as error:  # noqa: BLE001  # a malformed file can make the import raise anything
        raise SettingsError(_describe(error)) from None
    finally:
        gc.enable()
    _check_settings()


def _check_settings() -> None:
    """Raise `SettingsError` for a profile that does not exist, or a bad API setting."""
    from prefect.settings import get_current_settings, load_profiles  # noqa: PLC0415  # after the import

    profiles = load_profiles()
    active = os.environ.get("PREFECT_PROFILE", profiles.active_name)
    if active not in profiles.names:
        # Prefect would only warn, and its UI would show no run.
        where = "PREFECT_PROFILE" if "PREFECT_PROFILE" in os.environ else f"{PROFILES} of Prefect"
        names = ", ".join(sorted(profiles.names))
        raise SettingsError(f"{where}: there is no profile {active!r}; name one of {names}")
    api = get_current_settings().api
    if api.url:
        try:
            runtime.check_http_url(api.url)
        except ValueError as error:
            raise SettingsError(f"PREFECT_API_URL: {error}") from None
        runtime.prepare_libraries([api.url])
    if api.ssl_cert_file:
        runtime.check_certificates("PREFECT_API_SSL_CERT_FILE", api.ssl_cert_file)


def _describe(error: Exception) -> str:
    """Return one line about what Prefect cannot use, without the value, which may be a secret."""
    given = {name: value.lower() for name, value in os.environ.items() if name.startswith("PREFECT_")}
    files = filter(os.path.exists, ("prefect.toml", str(PROFILES), str(HOME / "logging.yml")))
    where = " or ".join(files) or "a file or variable that Prefect reads"
    if isinstance(error, ValidationError):
        # Skip the errors of defaults that depend on the bad value: they do not name it.
        first = next(item for item in error.errors() if item["type"] != "default_factory_not_called")
        names = [name for name, value in given.items() if value == str(first["input"]).lower()]
        field = ".".join(map(str, first["loc"]))
        # The message of one of Prefect's own checks may quote the value.
        own = first["type"] in {"value_error", "assertion_error"}
        reason = "Prefect does not accept the value" if own else runtime.invalid_value(first)
    elif found := re.search(r'error parsing value for field "(\w+)"', str(error)):
        field, reason = found[1], "must be valid JSON"
        names = [name for name in given if name.endswith(field.upper())]
    else:
        return f"{where}: Prefect cannot read it; correct it (`prefect version` shows the error)"
    return f"{' or '.join(names) or f'{field} in {where}'}: {reason}; correct or unset it"


if "prefect" not in sys.modules:
    try:
        _import_prefect()
    except SettingsError as error:
        runtime.exit_with(error)
