"""Import Prefect, which reads its settings then; a bad setting ends the process with one line.

The package `flows` imports this module first. A worker and the `prefect` command have already imported
Prefect; there, nothing is checked.
"""

import configparser
import contextlib
import gc
import io
import logging
import os
import re
import sys
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings.exceptions import SettingsError as PydanticSettingsError

from core.domain import SettingsError
from core.runtime import (
    check_certificate_files,
    check_certificates,
    check_http_url,
    clean_variables,
    exit_with,
    invalid_value,
    prepare_proxies,
)

DEFAULTS = {
    # No telemetry.
    "DO_NOT_TRACK": "1",
    # Prefect's log goes to its UI, not to the terminal.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
}
"""Defaults of variables that Prefect reads when it is imported."""
# Without a user, `expanduser` changes nothing.
HOME = Path(os.path.expanduser(os.environ.get("PREFECT_HOME", "").strip() or "~/.prefect"))  # noqa: PTH111
PROFILES = Path(os.environ.get("PREFECT_PROFILES_PATH", "").strip() or HOME / "profiles.toml")
_LOGGING_PATHS = map(os.environ.get, ("PREFECT_LOGGING_CONFIG_PATH", "PREFECT_LOGGING_SETTINGS_PATH"))
LOGGING = Path(next(filter(None, _LOGGING_PATHS), HOME / "logging.yml"))


def _import_prefect() -> None:
    clean_variables()
    check_certificate_files()
    prepare_proxies()
    _import_fsspec()
    for name, value in DEFAULTS.items():
        os.environ[name] = os.environ.get(name) or value
    # For a bad variable it logs a traceback, and then uses its default.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    given = os.environ.get("PREFECT_HOME")
    if "PREFECT_API_URL" not in os.environ and not os.path.exists(HOME):  # noqa: PTH110  # also without access
        # A run needs no home. A folder below a file cannot be made, and cannot hold a profile.
        os.environ["PREFECT_HOME"] = f"{os.devnull}/prefect"
    # Garbage collection during the import would only cost time.
    gc.disable()
    try:
        # Prefect prints a bad setting with its value before it raises, and warns of a home it cannot make.
        with contextlib.redirect_stderr(io.StringIO()):
            import prefect.main  # noqa: F401, PLC0415  # the import itself is what is tried
    except ValidationError as error:
        raise SettingsError(_describe(error)) from None
    except PydanticSettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        file = re.search(r"from (\S+): invalid TOML", str(error))
        what = _variable(field[1]) if field else f"{file[1] if file else 'prefect.toml'} of Prefect"
        form = "must be valid JSON" if field else "is not valid TOML; correct or remove it"
        raise SettingsError(f"{what}: {form}") from None
    except ImportError:
        raise
    except Exception:
        # A file of another shape, or a variable of OpenTelemetry, can make the import raise anything.
        files = [str(path) for path in (PROFILES, LOGGING) if path.exists()]
        suspects = files + sorted(name for name in os.environ if name.startswith("OTEL_"))
        if not suspects:
            raise
        raise SettingsError(
            f"{' or '.join(suspects)}: Prefect cannot use what it says; correct or remove it"
        ) from None
    finally:
        gc.enable()
        # For the processes that this one starts.
        os.environ.pop("PREFECT_HOME", None)
        os.environ |= {"PREFECT_HOME": given} if given else {}
    _check_settings()


def _import_fsspec() -> None:
    """Import fsspec, so that an error of its configuration is not reported as one of Prefect."""
    try:
        import fsspec.config  # noqa: F401, PLC0415  # it reads its configuration when it is imported
    except (configparser.Error, ValueError, TypeError, OSError):
        raise SettingsError(
            "FSSPEC_CONFIG_DIR (by default ~/.config/fsspec): a file in it is not valid JSON or INI;"
            " correct or remove the file"
        ) from None


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
    try:
        if api.url:
            check_http_url(api.url)
            prepare_proxies([api.url])
    except ValueError as error:
        raise SettingsError(f"PREFECT_API_URL: {error}") from None
    if api.ssl_cert_file:
        check_certificates("PREFECT_API_SSL_CERT_FILE", api.ssl_cert_file)


def _describe(error: ValidationError) -> str:
    # An error of a default that depends on the bad value says nothing.
    first = next(item for item in error.errors() if item["type"] != "default_factory_not_called")
    name = _variable(str(first["loc"][0]), model=error.title) if first["loc"] else "Prefect's settings"
    # A message of Prefect's own may quote the value.
    own = first["type"] in {"value_error", "assertion_error"}
    reason = "Prefect does not accept the value" if own else invalid_value(first)
    place = "" if name in os.environ else f" (set in prefect.toml or in {PROFILES})"
    return f"{name}: {reason}{place}; correct or unset it"


def _variable(field: str, model: str = "") -> str:
    """Return the environment variable of a field of one of Prefect's settings models."""
    from prefect.settings.base import PrefectBaseSettings  # noqa: PLC0415  # works after a failed import

    if field.lower().startswith("prefect_"):
        return field.upper()
    for known in PrefectBaseSettings.__subclasses__():
        if known.__name__ == model or (not model and field in known.model_fields):
            # Prefect's older names of a variable are aliases.
            aliases = getattr(known.model_fields[field].validation_alias, "choices", ())
            names = [
                f"{known.model_config.get('env_prefix', '')}{field}",
                *(alias for alias in aliases if isinstance(alias, str)),
            ]
            return next((name.upper() for name in names if name.upper() in os.environ), names[0].upper())
    return f"PREFECT_{field}".upper()


if "prefect" not in sys.modules:
    try:
        _import_prefect()
    except SettingsError as error:
        exit_with(error)
