"""`risk-alerts check` on good and broken installations; it changes nothing."""

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from aiosmtpd.smtp import AuthResult

from core.ledger import open_ledger
from examples.mock_slack import MockSlack
from tests.cli.calling import call, run_python
from tests.cli.conftest import Run
from tests.postgresql import Server
from tests.service import MONTH, closed_port, row, write_source
from tests.slack.hostile import HostileSlack, answer
from tests.support.servers import Mailbox, mail_server


class Installation:
    """The settings of an installation, and its check; `canary` in a setting is a secret."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._patch = patch
        self._capsys = capsys

    def set(self, **settings: Any) -> None:
        for name, value in settings.items():
            self._patch.setenv(name, str(value))

    def check(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """Check the installation, and return its findings by name."""
        code, out = self._check("--json", *arguments)
        found = json.loads(out)
        assert code == (not found["ok"])
        assert found["ok"] == all(one["status"] != "failed" for one in found["checks"])
        return {one["name"]: one for one in found["checks"]}

    def check_source(self, uri: str, *arguments: str) -> dict[str, Any]:
        return self.check("--source-uri", uri, *arguments)["source"]

    def shown(self, *arguments: str) -> str:
        """Check the installation; return the output for a person."""
        return self._check(*arguments)[1]

    def _check(self, *arguments: str) -> tuple[int, str]:
        code = call("check", *arguments)
        out, err = self._capsys.readouterr()
        assert "canary" not in out + err
        return code, out


@pytest.fixture
def installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], slack: MockSlack
) -> Installation:
    good = Installation(tmp_path, monkeypatch, capsys)
    good.set(
        DATABASE_URL=f"sqlite:///{tmp_path}/data/ledger.db",
        SLACK_WEBHOOK_BASE_URL=f"{slack.url}/canary",
        REGIONS='{"AMER": "amer-risk-alerts", "EMEA": "emea-risk-alerts"}',
    )
    return good


def test_good_installation_passes_and_is_not_changed(
    installation: Installation, slack: MockSlack, source: str
) -> None:
    before = sorted(installation.folder.rglob("*"))
    found = installation.check("--source-uri", source, "--month", MONTH)
    assert {name: one["status"] for name, one in found.items()} == {
        "settings": "ok",
        "ledger": "ok",
        "source": "ok",
        "slack": "ok",
        "mail": "skipped",
        "prefect": "skipped",
    }
    assert found["mail"]["tried"] == "SMTP_HOST"
    assert installation.shown("--source-uri", source).endswith("All is well.\n")
    assert sorted(installation.folder.rglob("*")) == before
    assert slack.messages == []


def test_each_finding_shows_what_was_tried_and_advice(installation: Installation) -> None:
    port = closed_port()
    installation.set(
        SMTP_HOST="127.0.0.1", SMTP_PORT=port, SLACK_WEBHOOK_BASE_URL=f"http://127.0.0.1:{port}/canary"
    )
    missing = f"{installation.folder.as_uri()}/nowhere"
    shown = installation.shown("--source-uri", missing)
    assert "✓ settings  " in shown
    assert f"✗ source    {missing}: no such file" in shown
    assert f"✗ mail      127.0.0.1:{port}: " in shown
    assert "→ " in shown
    assert shown.endswith("3 of 6 checks failed.\n")
    assert "None" not in shown
    assert "internal error" not in shown
    assert {name: one["tried"] for name, one in installation.check().items()} == {
        "settings": "the environment and CONFIG_FILE",
        "ledger": f"sqlite:///{installation.folder}/data/ledger.db",
        "source": "--source-uri",
        "slack": "Slack's host 127.0.0.1",
        "mail": f"127.0.0.1:{port}",
        "prefect": "PREFECT_API_URL",
    }


def test_defect_of_one_check_hides_no_other(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.check.try_write", lambda _: {}["defect"])
    found = installation.check()
    assert found["ledger"]["found"] == "internal error: 'defect'"
    assert found["ledger"]["advice"] == "This is a defect: report it."
    assert found["prefect"]["status"] == "skipped"


def test_bad_setting_is_the_only_finding(installation: Installation) -> None:
    installation.set(ARR_THRESHOLD="canary")
    (finding,) = installation.check().values()
    assert (finding["name"], finding["status"]) == ("settings", "failed")
    assert finding["found"].startswith("ARR_THRESHOLD: must be a valid integer")
    assert "nothing else was checked" in finding["advice"]


def test_machine_without_a_home_of_prefect_is_not_warned(tmp_path: Path) -> None:
    """A run needs no home."""
    variables = {"DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db", "PREFECT_HOME": f"{tmp_path}/prefect"}
    assert run_python("-m", "cli", "check", "--json", **variables).stderr == ""


def test_bad_setting_of_prefects_is_a_finding(tmp_path: Path) -> None:
    """Prefect reads its settings when it is imported."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    ended = run_python("-m", "cli", "check", "--json", DATABASE_URL=url, PREFECT_LOGGING_LEVEL="canary")
    assert (ended.returncode, ended.stderr) == (1, "")
    [found] = [one for one in json.loads(ended.stdout)["checks"] if one["name"] == "prefect"]
    assert found["status"] == "failed"
    assert found["found"].startswith("PREFECT_LOGGING_LEVEL: ")


BROKEN: dict[str, tuple[str, dict[str, str], str]] = {
    "no channels": ("settings", {"REGIONS": ""}, "REGIONS"),
    "no webhook": (
        "slack",
        {"SLACK_WEBHOOK_BASE_URL": ""},
        "SLACK_WEBHOOK_BASE_URL or SLACK_WEBHOOK_URL: not set",
    ),
    "a host without TLS": ("slack", {"SLACK_WEBHOOK_BASE_URL": "{https}"}, ""),
    "no folder": ("ledger", {"DATABASE_URL": "sqlite:////proc/no/ledger.db"}, "sqlite:////proc/no/ledger.db"),
    "no ledger": ("ledger", {"DATABASE_URL": "sqlite:///{folder}/text.db"}, "text.db"),
    "no database server": (
        "ledger",
        {"DATABASE_URL": "postgresql://me:canary@127.0.0.1:{closed}/ledger"},
        "postgresql://127.0.0.1/ledger",
    ),
    "no mail server": ("mail", {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": "{closed}"}, "SMTP_HOST, SMTP_PORT"),
}
"""What is broken: the check that fails, the settings, and what its finding names."""


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_part_is_a_finding(installation: Installation, slack: MockSlack, broken: str) -> None:
    name, settings, named = BROKEN[broken]
    (installation.folder / "text.db").write_text("long enough to look like a database" * 99)
    places = {
        "closed": closed_port(),
        "folder": installation.folder,
        "https": slack.url.replace("http://", "https://"),
    }
    installation.set(**{key: value.format(**places) for key, value in settings.items()})
    found = installation.check("--post-test-message")[name]
    assert found["status"] == "failed"
    assert named in f"{found['tried']}: {found['found']}"


def test_existing_ledger_is_written_and_rolled_back(installation: Installation) -> None:
    url = f"sqlite:///{installation.folder}/ledger.db"
    open_ledger(url).close()
    before = (installation.folder / "ledger.db").read_bytes()
    installation.set(DATABASE_URL=url)
    assert installation.check()["ledger"]["found"] == "can be written"
    assert (installation.folder / "ledger.db").read_bytes() == before


def test_ledger_inside_a_container_is_noted(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.ismount", lambda _: False)
    installation.set(KUBERNETES_SERVICE_HOST="10.0.0.1")
    finding = installation.check()["ledger"]
    assert (finding["status"], len(finding["notes"])) == ("ok", 1)
    assert "will be lost" in finding["notes"][0]


def test_empty_postgresql_database_stays_empty(installation: Installation, postgresql: Server) -> None:
    url = postgresql.new_database()
    installation.set(DATABASE_URL=url)
    finding = installation.check()["ledger"]
    assert (finding["status"], finding["notes"]) == ("ok", [])
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert tables.fetchone() == (0,)


def test_source_is_described_by_its_footers(installation: Installation) -> None:
    rows = [row("A", "2025-11-01"), row("A"), row("B", account_region="[latam]")]
    uri = write_source(installation.folder / "x.parquet", rows)
    found = installation.check_source(uri)
    assert found["found"] == "3 rows in 1 file, months 2025-11 to 2026-01"
    note = "regions without a channel (the footers may not name all): [latam]"
    assert found["notes"] == [note]
    assert f"\n            note: {note}\n" in installation.shown("--source-uri", uri)


@pytest.mark.parametrize(
    ("region", "shown"), [("", "(empty)"), ("EMEA ", '"EMEA "'), ("A\nB", "A B"), ("A\nB ", '"A B "')]
)
def test_region_that_cannot_be_seen_is_described(installation: Installation, region: str, shown: str) -> None:
    uri = write_source(installation.folder / "x.parquet", [row("A", account_region=region)])
    [note] = installation.check_source(uri)["notes"]
    assert note.endswith(f": {shown}")


def test_ignored_columns_and_unknown_months_are_shown(installation: Installation) -> None:
    folder = installation.folder / "files"
    write_source(folder / "with-statistics.parquet", [row("A", MONTH)])
    table = pq.read_table(folder / "with-statistics.parquet")
    other = table.append_column("segment", table["arr"])
    pq.write_table(other, folder / "without.parquet", write_statistics=False)
    found = installation.check_source(folder.as_uri(), "--month", "2030-01-01")
    assert found["status"] == "ok"
    assert "months unknown (the footers do not show them)" in found["found"]
    assert found["notes"] == ["columns that are ignored: segment"]


def test_partitions_name_the_months(installation: Installation) -> None:
    for month in ("2025-12-01", MONTH):
        write_source(installation.folder / f"months/month={month}/x.parquet", [row("A", month)])
    uri = (installation.folder / "months").as_uri()
    found = installation.check_source(uri, "--month", MONTH)
    assert "2 rows in 2 files, months 2025-12 to 2026-01" in found["found"]
    assert installation.check_source(uri, "--month", "2026-02-01")["status"] == "failed"


def test_source_that_cannot_be_used_fails(installation: Installation, source: str) -> None:
    without_arr = write_source(installation.folder / "without.parquet", without="arr")
    damaged = installation.folder / "damaged.parquet"
    damaged.write_bytes(b"PAR1 but no more")
    for uri, month, found in (
        (source, "2026-02-01", "no rows of 2026-02-01: "),
        (without_arr, MONTH, "column arr is missing"),
        (damaged.as_uri(), MONTH, "damaged.parquet"),
        ("", MONTH, "must not be empty"),
        ("ftp://host/x", MONTH, "use file://, gs:// or s3://"),
        ("s3://user:canary@bucket/x", MONTH, "must not carry credentials"),
    ):
        finding = installation.check_source(uri, "--month", month)
        assert finding["status"] == "failed"
        assert found in finding["found"]


@pytest.mark.usefixtures("installation")
def test_usage_error_checks_nothing(run: Run) -> None:
    out, err = run("check", "--month", MONTH, code=2)
    assert out == ""
    assert "--month needs --source-uri" in err.splitlines()[-1]


def test_post_test_message_posts_to_each_channel(installation: Installation, slack: MockSlack) -> None:
    regions = {"AMER": "amer-risk-alerts", "LATAM": "amer-risk-alerts", "EMEA": "emea-risk-alerts"}
    installation.set(SLACK_WEBHOOK_BASE_URL=slack.url, REGIONS=json.dumps(regions))
    slack.fail("emea-risk-alerts", 404, 1)
    shown = installation.shown("--post-test-message")
    assert "✓ slack     a message to #amer-risk-alerts: delivered" in shown
    assert "✗ slack     a message to #emea-risk-alerts: " in shown
    assert [message["channel"] for message in slack.messages] == ["amer-risk-alerts"]


@pytest.mark.parametrize("status", [404, 418, 503])
def test_advice_about_a_test_message_is_not_about_a_month(
    installation: Installation, slack: MockSlack, status: int
) -> None:
    installation.set(SLACK_WEBHOOK_BASE_URL=slack.url)
    slack.fail("emea-risk-alerts", status, 1)
    [advice] = re.findall(r"→ (.*)", installation.shown("--post-test-message"))
    assert re.fullmatch(r"([A-Z].*\. )?[A-Z].*, then run the check again\.", advice)
    assert "month" not in advice


def test_one_webhook_takes_one_test_message(installation: Installation, slack: MockSlack) -> None:
    installation.set(SLACK_WEBHOOK_BASE_URL="", SLACK_WEBHOOK_URL=f"{slack.url}/services/canary")
    installation.shown("--post-test-message")
    assert len(slack.messages) == 1


LOGIN = {"SMTP_USERNAME": "alerts", "SMTP_PASSWORD": "canary", "SMTP_STARTTLS": "false"}


@pytest.mark.parametrize(
    ("login", "accepted", "status", "found"),
    [
        ({}, True, "ok", "accepts the connection; nothing was sent"),
        (LOGIN, True, "ok", "accepts the login; nothing was sent"),
        (LOGIN, False, "failed", r".*\(535\); check SMTP_USERNAME, SMTP_PASSWORD.*"),
    ],
)
def test_check_of_the_mail_server_sends_no_mail(
    installation: Installation, login: dict[str, str], status: str, found: str, *, accepted: bool
) -> None:
    mailbox, result = Mailbox(), AuthResult(success=accepted, handled=False)
    with mail_server(mailbox, authenticator=lambda *_: result, auth_require_tls=False) as at:
        installation.set(SMTP_HOST=at.smtp_host, SMTP_PORT=at.smtp_port, **login)
        mail = installation.check()["mail"]
    assert mail["status"] == status
    assert re.fullmatch(found, mail["found"])
    assert mailbox.raw == []


def test_prefect_api_must_answer_as_one(
    installation: Installation, prefect_api: str, slack: MockSlack
) -> None:
    from prefect.settings import temporary_settings  # noqa: PLC0415  # takes seconds to import

    for url, status in ((prefect_api, "ok"), (f"{slack.url}/api", "failed")):
        with temporary_settings({"api.url": url}):
            found = installation.check()["prefect"]
        assert (found["status"], "host 127.0.0.1" in found["found"]) == (status, True)


def test_prefect_api_that_refuses_the_login_fails(installation: Installation) -> None:
    """A health check needs no login."""
    from prefect.settings import temporary_settings  # noqa: PLC0415  # takes seconds to import

    with HostileSlack() as server:
        # The server closes each connection, and Prefect's client would use it again.
        server.script("/api/health", answer(200, "true", headers={"Connection": "close"}))
        server.script("/api/flows/filter", answer(401, ""))
        with temporary_settings({"api.url": f"{server.url}/api", "client.csrf_support_enabled": False}):
            found = installation.check()["prefect"]
    assert found["status"] == "failed"
    assert "HTTP 401; check PREFECT_API_KEY, PREFECT_API_AUTH_STRING" in found["found"]
