"""A flow run without a month takes the month of its scheduled start, in the time zone of its schedule."""

from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from flows import flow_run as module


def scheduled(monkeypatch: pytest.MonkeyPatch, at: str, zone: str) -> None:
    """Pretend that Prefect scheduled the run for that time in that zone; Prefect stores UTC."""
    start = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    monkeypatch.setattr(module, "flow_run", SimpleNamespace(scheduled_start_time=start))
    monkeypatch.setattr(module, "deployment", SimpleNamespace(id="any"))
    monkeypatch.setattr(module, "schedule_zone", lambda _: ZoneInfo(zone))


@pytest.mark.parametrize(
    ("at", "zone", "month"),
    [
        ("2026-01-01 00:30", "UTC", "2026-01-01"),
        ("2026-01-01 00:30", "Asia/Tokyo", "2026-01-01"),  # in UTC: 2025-12-31
        ("2026-01-31 23:30", "America/New_York", "2026-01-01"),  # in UTC: 2026-02-01
        ("2026-04-01 00:30", "Europe/Berlin", "2026-04-01"),  # in daylight saving time
    ],
)
def test_month_is_in_the_timezone_of_the_schedule(
    monkeypatch: pytest.MonkeyPatch, at: str, zone: str, month: str
) -> None:
    # The code does not read the actual start, so a late run has the same month.
    scheduled(monkeypatch, at, zone)
    assert module.month_or_scheduled(None) == date.fromisoformat(month)


def test_given_month_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduled(monkeypatch, "2026-05-01 00:30", "Asia/Tokyo")
    assert module.month_or_scheduled(date(2025, 2, 1)) == date(2025, 2, 1)


@pytest.mark.parametrize(
    ("zones", "hours"),
    [
        ([], 0),
        (["Asia/Tokyo"], 9),
        (["Asia/Tokyo", "Asia/Tokyo"], 9),
        (["Asia/Tokyo", "UTC"], 0),
        ([None], 0),
    ],
)
def test_timezone_is_the_one_of_all_schedules(
    monkeypatch: pytest.MonkeyPatch, zones: list[str | None], hours: int
) -> None:
    schedules = [SimpleNamespace(schedule=SimpleNamespace(timezone=zone)) for zone in zones]
    client = SimpleNamespace(read_deployment=lambda _: SimpleNamespace(schedules=schedules))
    monkeypatch.setattr(module, "get_client", lambda **_: nullcontext(client))
    zone = module.schedule_zone("00000000-0000-0000-0000-000000000001")
    assert datetime(2026, 1, 1, tzinfo=zone).utcoffset() == timedelta(hours=hours)


def test_run_without_a_deployment_is_in_utc() -> None:
    assert module.schedule_zone(None) is UTC


def test_name_of_a_flow_run_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {"source_uri": "s3://key:canary@bucket/x", "month": date(2026, 1, 1), "dry_run": True}
    monkeypatch.setattr(module, "flow_run", SimpleNamespace(parameters=parameters))
    assert module.name_flow_run() == "2026-01 s3://***@bucket/x (dry run)"
