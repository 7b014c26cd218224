"""Variables that libraries read: a bad one is one line that names it, and loopback never uses a proxy."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch
from urllib.request import getproxies, proxy_bypass, urlopen

import httpx
import pytest

from core.domain import SettingsError
from core.runtime import environment, load_settings
from core.sources.remote import proxy_for
from tests.cli.calling import run_python
from tests.service import MONTH
from tests.slack.hostile import HostileSlack


@pytest.fixture(autouse=True)
def _same_environment_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(environment, "_networks", set())
    with patch.dict(os.environ):
        # Any earlier test may have loaded settings.
        os.environ.pop("no_proxy", None)
        yield


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("", "http://127.0.0.2:9"),
        ("10.0.0.0/8, 192.0.2.0/24", "http://192.0.2.7:9"),
        ("192.0.2.7", "http://192.0.2.7:9"),
        ("2001:db8::/32", "http://[2001:db8::7]:9"),
        ("example.test", "http://store.example.test:9"),
        ("store.example.test", "http://store.example.test:9"),
    ],
)
def test_store_known_only_to_its_library_is_reached_directly(no_proxy: str, url: str) -> None:
    """The endpoint of a profile is in no setting and in no variable."""
    os.environ.update(HTTP_PROXY="http://proxy:1", NO_PROXY=no_proxy)
    environment.prepare_libraries()
    assert proxy_for(url) is None
    assert proxy_for("http://11.1.2.3:9") == "http://proxy:1"


BAD = [
    ("ALL_PROXY", "socks5://canary:1080", "SOCKS"),
    ("HTTP_PROXY", "http://proxy:canary", "http:// or https:// URL"),
    ("HTTPS_PROXY", "http://", "http:// or https:// URL"),
    ("HTTP_PROXY", "http://user:can@ary@proxy:1", "%40"),
    ("http_proxy", "'http://proxy:1'", "in quotes"),
    ("NO_PROXY", "10.0.0.0/canary", "NO_PROXY"),
    ("NO_PROXY", "canary:bar", "NO_PROXY"),
    ("NO_PROXY", ":80", "NO_PROXY"),
    ("SSL_CERT_FILE", "/no/such/file.pem", "No such file"),
    ("SSL_CERT_FILE", "/etc/hosts", "no PEM certificate"),
    ("REQUESTS_CA_BUNDLE", "/no/such/file.pem", "No such file"),
    ("CURL_CA_BUNDLE", "/no/such/file.pem", "No such file"),
    ("AWS_CA_BUNDLE", "/no/such/file.pem", "No such file"),
    ("AWS_CA_BUNDLE", "/tmp", "cannot be used"),  # noqa: S108  # the library takes no folder
    ("SSLKEYLOGFILE", "/no/such/keys", "cannot be used"),
    ("AWS_SECRET_ACCESS_KEY", '"canary"', "in quotes"),
    ("AWS_ENDPOINT_URL", "http://minio:canary", "http:// or https:// URL"),
    ("AWS_ENDPOINT_URL_S3", "canary:9000", "http:// or https:// URL"),
    ("STORAGE_EMULATOR_HOST", "canary:port", "http:// or https:// URL"),
    ("S3FS_LOGGING_LEVEL", "canary", "DEBUG, INFO"),
    ("GCSFS_DEBUG", "debug", "DEBUG, INFO"),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "canary", "http:// or https:// URL"),
    ("AWS_ENDPOINT_URL_STS", "canary:443", "http:// or https:// URL"),
]


@pytest.mark.parametrize(("name", "value", "said"), BAD)
def test_bad_library_variable_is_one_line_that_names_it(name: str, value: str, said: str) -> None:
    os.environ[name] = value
    with pytest.raises(SettingsError, match=f"^{name}: ") as caught:
        load_settings()
    assert said in caught.value.message
    assert "canary" not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORAGE_EMULATOR_HOST", "127.0.0.1:4443"),
        ("GCSFS_DEBUG", "INFO"),
        ("SSLKEYLOGFILE", "/dev/null"),
        ("REQUESTS_CA_BUNDLE", "/etc"),  # these libraries take a folder
        ("CURL_CA_BUNDLE", "/etc"),
        ("AWS_SECRET_ACCESS_KEY", '"begins'),
        ("OF_ANOTHER_PROGRAM", ' "quoted" '),
    ],
)
def test_good_variable_is_left_as_it_is(name: str, value: str) -> None:
    os.environ[name] = value
    load_settings()
    assert os.environ[name] == value


def test_blanks_around_library_variables_are_stripped() -> None:
    os.environ.update(AWS_SECRET_ACCESS_KEY="key\n", HTTPS_PROXY=" http://u:p|w@proxy:1\r\n")
    load_settings()
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "key"
    assert os.environ["HTTPS_PROXY"] == "http://u:p|w@proxy:1"


@pytest.mark.parametrize(
    "name", ["AWS_PROFILE", "PREFECT_PROFILE", "REQUESTS_CA_BUNDLE", "S3FS_LOGGING_LEVEL", "GCSFS_DEBUG"]
)
def test_empty_library_variable_counts_as_not_set(name: str) -> None:
    """The libraries would look for a profile, certificates or a level without a name."""
    os.environ[name] = " "
    load_settings()
    assert name not in os.environ


@pytest.mark.parametrize("name", ["PREFECT_API_URL", "https_proxy", "NO_PROXY"])
def test_empty_variable_may_override_another_source(name: str) -> None:
    """Prefect's profile has an address too, and a proxy may be named in capitals."""
    os.environ[name] = ""
    load_settings()
    assert name in os.environ


def test_empty_proxy_overrides_the_one_in_capitals() -> None:
    os.environ.update(HTTP_PROXY="http://proxy:1", HTTPS_PROXY="http://proxy:2", https_proxy="")
    load_settings()
    assert (getproxies().get("http"), getproxies().get("https")) == ("http://proxy:1", None)


@pytest.mark.parametrize(
    ("no_proxy", "variable", "host"),
    [
        ("", "HTTP_PROXY", "127.0.0.1"),
        ("", "ALL_PROXY", "localhost"),
        ("internal.example", "HTTP_PROXY", "127.0.0.2"),
        ("10.0.0.0/8,fd00::/8", "ALL_PROXY", "127.0.0.1"),
        ("[::1],[fd00::1]:80", "HTTP_PROXY", "localhost"),
        ("é.example", "ALL_PROXY", "127.0.0.2"),
    ],
)
def test_only_loopback_bypasses_the_proxy(no_proxy: str, variable: str, host: str) -> None:
    if sys.platform == "darwin" and host == "127.0.0.2":
        pytest.skip("macOS has no other loopback address than 127.0.0.1")
    with HostileSlack() as proxy, HostileSlack(host=host.replace("localhost", "127.0.0.1")) as origin:
        url = f"http://{host}:{origin.port}"
        os.environ |= {variable: proxy.url, "NO_PROXY": no_proxy, "S3_ENDPOINT_URL": url}
        load_settings()
        with httpx.Client() as client:
            assert client.get(url).is_success
            assert client.get("http://accounts.example/").is_success
        with urlopen(url):
            assert len(origin.requests) == 2
        assert [request.path for request in proxy.requests] == ["http://accounts.example/"]


def test_network_in_no_proxy_covers_configured_hosts() -> None:
    networks = "10.0.0.1/8 fd00::/8 192.0.2.7 169.254.0.0/16"
    os.environ.update(HTTPS_PROXY="http://proxy:1", NO_PROXY=networks, no_proxy=networks)
    load_settings()  # Hosts that become known later are covered too.
    os.environ.update(S3_ENDPOINT_URL="https://10.1.2.3:9000", PREFECT_API_URL="http://[fd00::7]:4200/api")
    os.environ.update(AWS_ENDPOINT_URL="http://10.1.2.4:9000")
    load_settings()
    for host in ("10.1.2.3", "fd00::7", "10.1.2.4", "192.0.2.7", "169.254.169.254", "169.254.170.2"):
        assert proxy_bypass(host)
    assert not proxy_bypass("11.1.2.3")


def test_proxy_of_the_settings_of_macos_is_not_used() -> None:
    """Libraries would use it for loopback too. They read those settings when no variable is set."""
    environment.prepare_libraries()
    assert getproxies() == {"no": "localhost,127.0.0.1,::1"}


def test_broken_address_of_prefect_is_left_to_prefect() -> None:
    os.environ.update(NO_PROXY="10.0.0.0/8", PREFECT_API_URL="http://[broken")
    load_settings()


def test_no_proxy_star_disables_every_proxy() -> None:
    os.environ.update(ALL_PROXY="socks5://proxy:1", NO_PROXY="internal.example, *")
    load_settings()
    with httpx.Client():
        assert proxy_bypass("accounts.example")


@pytest.mark.parametrize(
    "entry", ["*.internal.example", ".internal.example", "internal.example", "http://db.internal.example/"]
)
def test_host_in_no_proxy_is_reached_directly(entry: str) -> None:
    os.environ.update(HTTPS_PROXY="http://proxy:1", NO_PROXY=entry)
    load_settings()
    assert proxy_bypass("db.internal.example")
    assert not proxy_bypass("db.other.example")


PROGRAMS = {
    "batch job": ["flows.monthly_risk_alerts", "--month", MONTH, "--source-uri", "file:///no/such.parquet"],
    "API": ["uvicorn", "api.app:app", "--port", "0"],
    "unconfirmed": ["cli", "unconfirmed"],
}


def ended(program: str, folder: Path, *more: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a program with more arguments and these variables until it ends."""
    settings = {"DATABASE_URL": f"sqlite:///{folder}/ledger.db", **environment}
    return run_python("-m", *PROGRAMS[program], *more, **settings)


def assert_refused(end: "subprocess.CompletedProcess[str]", name: str) -> None:
    assert (end.returncode, end.stdout) == (2, ""), end
    assert end.stderr.startswith(f"error: settings_invalid: {name}"), end.stderr
    assert end.stderr.count("\n") == 1, end.stderr
    assert "canary" not in end.stderr


@pytest.mark.parametrize(
    ("program", "name", "value"),
    [
        ("API", "SLACK_MAX_ATTEMPTS", "canary"),
        ("unconfirmed", "ALL_PROXY", "socks5://canary"),
        ("API", "PREFECT_FLOW_DEFAULT_RETRIES", "canary"),
        ("batch job", "PREFECT_CLIENT_CUSTOM_HEADERS", "{canary"),
        ("batch job", "PREFECT_API_URL", "canary"),
        ("batch job", "PREFECT_API_SSL_CERT_FILE", "/no/such.pem"),
        # Prefect takes its certificates from this variable too.
        ("batch job", "SSL_CERT_FILE", "/no/such.pem"),
        # Prefect itself warns and uses no profile, so that no run would show in the UI.
        ("batch job", "PREFECT_PROFILE", "misspelled"),
    ],
)
def test_each_program_refuses_a_bad_variable(program: str, name: str, value: str, tmp_path: Path) -> None:
    assert_refused(ended(program, tmp_path, **{name: value}), name)


def test_bad_context_of_opentelemetry_is_no_traceback(tmp_path: Path) -> None:
    end = ended("batch job", tmp_path, OTEL_PYTHON_CONTEXT="canary")
    assert (end.returncode, "slack_not_configured" in end.stdout) == (1, True), end
    assert "canary" not in end.stderr


BAD_LEVEL = b'active = "x"\n[profiles.x]\nPREFECT_LOGGING_LEVEL = "canary"\n'
HOMES = [
    ("profiles.toml", b'active = "x"\n[profiles]\nx = "canary"\n', "{file}"),
    ("profiles.toml", BAD_LEVEL, "level in {file}: must be 'DEBUG'"),
    (
        "profiles.toml",
        b'active = "x"\n[profiles.y]\n',
        "{file} of Prefect: there is no profile 'x'; name one of",
    ),
    ("logging.yml", b"a: [", "{file}"),
]


@pytest.mark.parametrize(("name", "content", "named"), HOMES)
def test_broken_file_in_the_home_of_prefect_is_named(
    name: str, content: bytes, named: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert_refused(ended("batch job", tmp_path, PREFECT_HOME=str(tmp_path)), named.format(file=file))


def test_profiles_elsewhere_are_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b'active = "x"\n[profiles.y]\n')
    assert_refused(ended("batch job", tmp_path, PREFECT_PROFILES_PATH=str(file)), str(file))


AFTER_IMPORT = """
import gc, json, os, urllib.request
import flows
from prefect.settings import get_current_settings
names = "DO_NOT_TRACK", "PREFECT_LOGGING_INTERNAL_LEVEL", "PREFECT_HOME"
url = get_current_settings().api.url
direct = bool(urllib.request.proxy_bypass("10.1.2.3"))
print(json.dumps([gc.isenabled(), [os.environ.get(name) for name in names], url, direct]))
"""


API = "http://10.1.2.3:4200/api"
IMPORTED = {
    "no variables": ("", {}, ["1", "CRITICAL", "/dev/null/prefect"], None, False),
    "an API": ("", {"PREFECT_API_URL": f" {API}"}, ["1", "CRITICAL", "{home}"], API, True),
    "a profile": (
        f'active = "x"\n[profiles.x]\nPREFECT_API_URL = "{API}"\n',
        {"DO_NOT_TRACK": "0", "PREFECT_LOGGING_INTERNAL_LEVEL": "ERROR\n"},
        ["0", "ERROR", "{home}"],
        API,
        True,
    ),
}


@pytest.mark.parametrize(("profiles", "given", "names", "url", "direct"), IMPORTED.values(), ids=IMPORTED)
def test_variables_after_the_import_of_prefect(
    profiles: str, given: dict[str, str], names: list[str], url: str | None, *, direct: bool, tmp_path: Path
) -> None:
    """An operator's variable wins over a default."""
    home = tmp_path / "home"
    if profiles:
        home.mkdir()
        (home / "profiles.toml").write_text(profiles)
    # An empty value is as good as none; the process of the tests has set these.
    empty = {"DO_NOT_TRACK": "", "PREFECT_LOGGING_INTERNAL_LEVEL": "", "PREFECT_HOME": str(home)}
    proxies = {"NO_PROXY": "10.0.0.0/8", "HTTP_PROXY": "http://127.0.0.1:9"}
    end = run_python("-c", AFTER_IMPORT, **{**empty, **proxies, **given})
    assert json.loads(end.stdout) == [True, [name.format(home=home) for name in names], url, direct], end


def test_user_without_a_home_can_import_the_flow() -> None:
    """OpenShift runs a container as a user whom the container does not know."""
    unknown = "import os, pwd; del os.environ['HOME']; pwd.getpwuid = {}.__getitem__; import flows"
    end = run_python("-c", unknown, HOME="/")
    assert (end.returncode, end.stderr) == (0, ""), end


def test_value_that_prefect_cannot_use_is_no_traceback(tmp_path: Path) -> None:
    end = ended("batch job", tmp_path, OTEL_PROPAGATORS="canary")
    assert_refused(end, "a file or variable that Prefect reads: ")
