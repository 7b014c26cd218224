"""`risk-alerts check` on good and broken installations; it changes nothing."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from core.ledger import open_ledger
from core.runtime import redaction
from examples.mock_slack import MockSlack
from tests.cli.calling import call
from tests.postgresql import Server
from tests.service import MONTH, closed_port, row, write_source
from tests.support.servers import Mailbox, mail_server

ROOT = Path(__file__).parents[2]


class Installation:
    """The settings of an installation, and its check."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._patch = patch
        self._capsys = capsys

    def set(self, **settings: Any) -> None:
        """Set variables."""
        for name, value in settings.items():
            self._patch.setenv(name, str(value))

    def check(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """Check the installation, and return its findings by name."""
        code = call("check", "--json", *arguments)
        found = json.loads(self._capsys.readouterr().out)
        assert found["ok"] == (code == 0)
        assert found["ok"] == all(one["status"] != "failed" for one in found["checks"])
        return {one["name"]: one for one in found["checks"]}

    def shown(self, *arguments: str) -> str:
        """Check the installation; return the output for a person."""
        call("check", *arguments)
        return self._capsys.readouterr().out


@pytest.fixture
def installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], slack: MockSlack
) -> Installation:
    """Return a correct installation."""
    monkeypatch.setattr(redaction, "_secrets", set())
    good = Installation(tmp_path, monkeypatch, capsys)
    good.set(
        DATABASE_URL=f"sqlite:///{tmp_path}/data/ledger.db",
        SLACK_WEBHOOK_BASE_URL=f"{slack.url}/canary",
        REGIONS='{"AMER": "amer-risk-alerts", "EMEA": "emea-risk-alerts"}',
    )
    return good


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """Answer each connection with these bytes, or never; yield the port."""
    over = threading.Event()
    kept: list[socket.socket] = []

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                continue
            kept.append(connection)
            if answer is not None:
                connection.recv(65536)
                connection.sendall(answer)
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        over.set()
        thread.join()
    for connection in kept:
        connection.close()


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
    assert "; check SMTP_HOST, SMTP_PORT, SMTP_STARTTLS and that server\n" in shown
    assert shown.endswith("3 of 6 checks failed.\n")
    assert "None" not in shown
    assert "internal error" not in shown
    assert "canary" not in shown
    tried = {name: one["tried"] for name, one in installation.check().items()}
    assert tried == {
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
    monkeypatch.setattr("cli.check.try_write", lambda _: 1 // 0)
    found = installation.check()
    assert found["ledger"]["found"] == "internal error: integer division or modulo by zero"
    assert found["ledger"]["advice"] == "This is a defect: report it."
    assert found["prefect"]["status"] == "skipped"


def test_bad_setting_is_the_only_finding(installation: Installation) -> None:
    installation.set(ARR_THRESHOLD="canary")
    (finding,) = installation.check().values()
    assert (finding["name"], finding["status"]) == ("settings", "failed")
    assert finding["found"] == "ARR_THRESHOLD: must be a valid integer, unable to parse string as an integer"
    assert finding["advice"] == "Correct it; nothing else was checked."


def test_missing_channels_and_webhook_are_findings(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REGIONS")
    monkeypatch.delenv("SLACK_WEBHOOK_BASE_URL")
    found = installation.check()
    assert (found["settings"]["status"], found["slack"]["status"]) == ("failed", "failed")


def test_bad_setting_of_prefects_is_a_finding(tmp_path: Path) -> None:
    """Prefect reads its settings when it is imported."""
    ended = subprocess.run(
        [sys.executable, "-m", "cli", "check", "--json"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
            "PREFECT_LOGGING_LEVEL": "canary",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    [found] = [one for one in json.loads(ended.stdout)["checks"] if one["name"] == "prefect"]
    assert found["status"] == "failed"
    assert found["found"].startswith("PREFECT_LOGGING_LEVEL: ")


# The ledger


def test_ledger_in_a_folder_that_cannot_be_written_fails(installation: Installation) -> None:
    installation.set(DATABASE_URL="sqlite:////proc/no/ledger.db")
    found = installation.check()["ledger"]
    assert found["status"] == "failed"
    assert (
        "The ledger sqlite:////proc/no/ledger.db cannot be used: No such file or directory. "
        in found["found"]
    )
    assert "Check DATABASE_URL, its disk and its permissions" in found["found"]


def test_password_of_the_ledger_is_not_shown(installation: Installation) -> None:
    installation.set(DATABASE_URL=f"postgresql://me:canary@127.0.0.1:{closed_port()}/ledger")
    found = installation.check()["ledger"]
    assert (found["status"], found["tried"]) == ("failed", "postgresql://127.0.0.1/ledger")
    assert "canary" not in found["found"]


def test_existing_ledger_is_written_and_rolled_back(installation: Installation) -> None:
    url = f"sqlite:///{installation.folder}/ledger.db"
    open_ledger(url).close()
    before = (installation.folder / "ledger.db").read_bytes()
    installation.set(DATABASE_URL=url)
    assert installation.check()["ledger"]["found"] == "can be written"
    assert (installation.folder / "ledger.db").read_bytes() == before


def test_file_that_is_no_ledger_fails(installation: Installation) -> None:
    (installation.folder / "ledger.db").write_text(
        "no database at all, but long enough to look like one" * 99
    )
    installation.set(DATABASE_URL=f"sqlite:///{installation.folder}/ledger.db")
    assert installation.check()["ledger"]["status"] == "failed"


def test_empty_postgresql_database_stays_empty(installation: Installation, postgresql: Server) -> None:
    url = postgresql.new_database()
    installation.set(DATABASE_URL=url)
    assert installation.check()["ledger"]["status"] == "ok"
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert tables.fetchone() == (0,)


# The source


def test_source_is_described_by_its_footers(installation: Installation) -> None:
    rows = [row("A", "2025-11-01"), row("A"), row("B", account_region="[latam]")]
    uri = write_source(installation.folder / "x.parquet", rows)
    found = installation.check("--source-uri", uri)["source"]
    assert found["found"] == "3 rows in 1 file, months 2025-11 to 2026-01"
    note = "regions without a channel (the footers may not name all): [latam]"
    assert found["notes"] == [note]
    assert f"\n            note: {note}\n" in installation.shown("--source-uri", uri)


@pytest.mark.parametrize(
    ("region", "shown"), [("", "(empty)"), ("EMEA ", '"EMEA "'), ("A\nB", "A B"), ("A\nB ", '"A B "')]
)
def test_region_that_cannot_be_seen_is_described(installation: Installation, region: str, shown: str) -> None:
    uri = write_source(installation.folder / "x.parquet", [row("A", account_region=region)])
    found = installation.check("--source-uri", uri)["source"]
    assert found["notes"] == [f"regions without a channel (the footers may not name all): {shown}"]


def test_columns_that_are_ignored_are_named(installation: Installation) -> None:
    write_source(installation.folder / "x.parquet")
    table = pq.read_table(installation.folder / "x.parquet")
    pq.write_table(table.append_column("segment", table["arr"]), installation.folder / "x.parquet")
    found = installation.check("--source-uri", (installation.folder / "x.parquet").as_uri())["source"]
    assert "columns that are ignored: segment" in found["notes"]


def test_months_are_unknown_without_statistics(installation: Installation) -> None:
    write_source(installation.folder / "x.parquet")
    table = pq.read_table(installation.folder / "x.parquet")
    pq.write_table(table, installation.folder / "x.parquet", write_statistics=False)
    uri = (installation.folder / "x.parquet").as_uri()
    found = installation.check("--source-uri", uri, "--month", "2030-01-01")["source"]
    assert found["status"] == "ok"
    assert "months unknown" in found["found"]


def test_partitions_name_the_months(installation: Installation) -> None:
    for month in ("2025-12-01", MONTH):
        write_source(installation.folder / f"months/month={month}/x.parquet", [row("A", month)])
    uri = (installation.folder / "months").as_uri()
    found = installation.check("--source-uri", uri, "--month", MONTH)["source"]
    assert "2 rows in 2 files, months 2025-12 to 2026-01" in found["found"]
    assert installation.check("--source-uri", uri, "--month", "2026-02-01")["source"]["status"] == "failed"


def test_source_without_the_month_fails(installation: Installation, source: str) -> None:
    found = installation.check("--source-uri", source, "--month", "2026-02-01")["source"]
    assert found["status"] == "failed"
    assert found["found"].startswith("no rows of 2026-02-01: ")


def test_source_that_cannot_be_read_fails(installation: Installation) -> None:
    uri = write_source(installation.folder / "x.parquet", without="arr")
    assert "column arr is missing" in installation.check("--source-uri", uri)["source"]["found"]
    (installation.folder / "x.parquet").write_bytes(b"PAR1 but no more")
    assert installation.check("--source-uri", uri)["source"]["status"] == "failed"


def test_credentials_in_the_uri_are_refused_and_not_shown(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("check", "--source-uri", "s3://user:canary@bucket/x") == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "canary" not in err


def test_empty_uri_is_a_usage_error(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", "--source-uri", "") == 2
    assert "source_uri must not be empty" in capsys.readouterr().err


def test_object_store_that_hangs_is_a_finding(installation: Installation) -> None:
    with answering(None) as port:
        installation.set(
            S3_ENDPOINT_URL=f"http://127.0.0.1:{port}", S3_ANON="true", SOURCE_TIMEOUT_SECONDS="1"
        )
        found = installation.check("--source-uri", "s3://bucket/x.parquet")["source"]
    assert found["status"] == "failed"


# Slack


@pytest.mark.parametrize("answer", [b"220 mail.example ESMTP\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b""])
def test_host_that_does_not_speak_http_fails(installation: Installation, answer: bytes) -> None:
    with answering(answer) as port:
        installation.set(SLACK_WEBHOOK_BASE_URL=f"http://127.0.0.1:{port}/canary")
        found = installation.check()["slack"]
    assert found["status"] == "failed"
    assert "canary" not in str(found)


def test_host_without_tls_fails_for_https(installation: Installation, slack: MockSlack) -> None:
    installation.set(SLACK_WEBHOOK_BASE_URL=slack.url.replace("http://", "https://"))
    assert installation.check()["slack"]["status"] == "failed"


def test_host_that_refuses_a_page_is_reached(installation: Installation) -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as port:
        installation.set(SLACK_WEBHOOK_BASE_URL=f"http://127.0.0.1:{port}")
        assert installation.check()["slack"]["status"] == "ok"


def test_post_test_message_posts_to_each_channel(installation: Installation, slack: MockSlack) -> None:
    regions = {"AMER": "amer-risk-alerts", "LATAM": "amer-risk-alerts", "EMEA": "emea-risk-alerts"}
    installation.set(SLACK_WEBHOOK_BASE_URL=slack.url, REGIONS=json.dumps(regions))
    slack.fail("emea-risk-alerts", 404, 1)
    shown = installation.shown("--post-test-message")
    assert "✓ slack     a message to #amer-risk-alerts: delivered" in shown
    assert "✗ slack     a message to #emea-risk-alerts: " in shown
    assert "→ The channel does not exist. Fix the channel or its webhook, then run the check again." in shown
    assert [message["channel"] for message in slack.messages] == ["amer-risk-alerts"]


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (503, "Slack answered 5xx to every try. Wait until Slack has no errors, then run the check again."),
        (418, "See the error and remove its cause, then run the check again."),
    ],
)
def test_advice_about_a_test_message_is_not_about_a_month(
    installation: Installation, slack: MockSlack, status: int, advice: str
) -> None:
    installation.set(SLACK_WEBHOOK_BASE_URL=slack.url)
    slack.fail("emea-risk-alerts", status, 1)
    assert advice in installation.shown("--post-test-message")


def test_no_webhook_takes_no_test_message(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLACK_WEBHOOK_BASE_URL")
    assert installation.check("--post-test-message")["slack"]["found"] == "not set"


def test_one_webhook_takes_one_test_message(
    installation: Installation, slack: MockSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLACK_WEBHOOK_BASE_URL")
    installation.set(SLACK_WEBHOOK_URL=f"{slack.url}/services/canary")
    assert "canary" not in installation.shown("--post-test-message")
    assert len(slack.messages) == 1


# Mail


def test_check_of_the_mail_server_sends_no_mail(installation: Installation) -> None:
    mailbox = Mailbox()
    with mail_server(mailbox) as settings:
        installation.set(SMTP_HOST=settings.smtp_host, SMTP_PORT=settings.smtp_port)
        assert installation.check()["mail"]["status"] == "ok"
    assert mailbox.raw == []


def test_mail_server_that_refuses_the_login_fails(installation: Installation) -> None:
    def refuse(*_: Any) -> Any:
        from aiosmtpd.smtp import AuthResult  # noqa: PLC0415

        return AuthResult(success=False, handled=False)

    with mail_server(Mailbox(), authenticator=refuse, auth_require_tls=False) as settings:
        installation.set(
            SMTP_HOST=settings.smtp_host,
            SMTP_PORT=settings.smtp_port,
            SMTP_USERNAME="alerts",
            SMTP_PASSWORD="canary",
            SMTP_STARTTLS="false",
        )
        found = installation.check()["mail"]
    assert found["status"] == "failed"
    assert "refused the login (535); check SMTP_USERNAME, SMTP_PASSWORD" in found["found"]
    assert "canary" not in str(found)


# Prefect


def test_prefect_api_that_answers_is_well(installation: Installation, prefect_api: str) -> None:
    found = check_with_prefect(installation, prefect_api)["prefect"]
    assert (found["status"], found["found"]) == ("ok", "host 127.0.0.1 answers")


def test_prefect_api_that_is_not_one_fails(installation: Installation, slack: MockSlack) -> None:
    assert check_with_prefect(installation, f"{slack.url}/api")["prefect"]["status"] == "failed"


def check_with_prefect(installation: Installation, url: str) -> dict[str, dict[str, Any]]:
    """Check with a Prefect API configured, and return the findings by name."""
    from prefect.context import refresh_global_settings_context  # noqa: PLC0415

    installation.set(PREFECT_API_URL=url)
    refresh_global_settings_context()
    try:
        return installation.check()
    finally:
        os.environ.pop("PREFECT_API_URL")
        refresh_global_settings_context()


# Hanging


def test_hung_servers_hide_no_other_finding(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.support.mail.IDLE_SECONDS", 1.0)
    monkeypatch.setattr("flows.prefect_engine.PROBE_SECONDS", 1)
    with answering(None) as port:
        installation.set(
            SLACK_WEBHOOK_BASE_URL=f"http://127.0.0.1:{port}/canary",
            SLACK_TIMEOUT_SECONDS="1",
            SMTP_HOST="127.0.0.1",
            SMTP_PORT=str(port),
        )
        found = check_with_prefect(installation, f"http://127.0.0.1:{port}/api")
    assert {name: one["status"] for name, one in found.items()} == {
        "settings": "ok",
        "ledger": "ok",
        "source": "skipped",
        "slack": "failed",
        "mail": "failed",
        "prefect": "failed",
    }
    assert found["slack"]["found"] == "no answer in 1 s"
    assert found["slack"]["advice"]
    assert found["prefect"]["found"].endswith(
        "; start it, correct PREFECT_API_URL or the Prefect profile, or name none to run without Prefect"
    )
    assert found["mail"]["found"].endswith("; check SMTP_HOST, SMTP_PORT, SMTP_STARTTLS and that server")
