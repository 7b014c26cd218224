"""Check the promises against what Slack and the mail server really got.

- No alert (account, month, type) was posted twice, where a request without a certain failure counts as
  posted; and nothing else was posted.
- Every alert was posted or is recorded as unconfirmed; an unknown region is recorded as such.
- Every alert that is failed or unconfirmed was listed as that in an accepted mail.
- For each killed or frozen run, at most one alert per channel is unconfirmed although Slack answered.
- No run is still running, and the counts of every run add up.
- No written file has a secret: logs, ledger, Prefect's database.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text

from core.domain import AlertKey, months_before
from tests.chaos.slack import DELIVERED, NO_ANSWER
from tests.chaos.tally import Tally
from tests.service import row, write_source

ALERT_TYPES = ("at_risk", "recovered")
REGIONS = {"AMER": "amer", "EMEA": "emea", "APAC": "apac"}
UNKNOWN = ("LATAM", "", None)
UNKNOWN_EVERY = 15
HEADINGS = {"unknown_region": "UNKNOWN REGION", "failed": "FAILED", "unconfirmed": "UNCONFIRMED"}
"""The heading of an alert in the mail to support, by its reason or its status."""


@dataclass
class World:
    """A month: its accounts, and the faults of its runs."""

    month: str
    regions: Mapping[AlertKey, str | None] = field(default_factory=dict)
    """The region of each alert."""
    runs_harmed: int = 0
    runs_left: int = 0
    """The runs whose client disconnected in an earlier round: they may go on in the API, and die with it."""


def write_world(path: Path, world: int, month: str, accounts: int) -> dict[AlertKey, str | None]:
    """Write the source of a month; return the region of each alert, which is unknown for some.

    Every second account has recovered: it was At Risk in the month before.
    """
    known = list(REGIONS)
    regions: dict[AlertKey, str | None] = {}
    for number in range(accounts):
        turn, rest = divmod(number, UNKNOWN_EVERY)
        region = known[number % len(known)] if rest else UNKNOWN[turn % len(UNKNOWN)]
        regions[AlertKey(f"A{world:04d}-{number:03d}", ALERT_TYPES[number % 2])] = region
    first = date.fromisoformat(month)
    before = months_before(first, 1)
    at_risk = dict(zip(ALERT_TYPES, (first, before), strict=True))
    rows = [
        row(
            key.account_id,
            str(day),
            "At Risk" if day == at_risk[key.alert_type] else "Healthy",
            account_region=region,
        )
        for key, region in regions.items()
        for day in (before, first)
    ]
    write_source(path, rows)
    return regions


def check(
    world: World,
    ledger: str,
    fates: Mapping[AlertKey, Counter[str]],
    listed: set[tuple[AlertKey, str]],
    tally: Tally,
) -> None:
    """Compare the ledger, given by its URL, with Slack and the mails; add broken promises to the tally."""
    with create_engine(ledger, poolclass=NullPool).connect() as connection:
        outcomes = {
            AlertKey(account_id, alert_type): (status, reason)
            for account_id, alert_type, status, reason in connection.execute(
                text(
                    "SELECT account_id, alert_type, status, reason FROM alert_outcomes WHERE month = :month"
                ),
                {"month": world.month},
            )
        }
        runs = connection.execute(
            text("SELECT run_id, status, CAST(counts_by_type AS text) FROM runs WHERE month = :month"),
            {"month": world.month},
        ).all()
    unexplained = 0
    for key in sorted((fates.keys() | outcomes.keys()) - world.regions.keys()):
        name = f"{key.account_id} ({key.alert_type})"
        tally.broken.append(("duplicates", f"{name} is no alert of the source"))
    for key, region in world.regions.items():
        name = f"{key.account_id} ({key.alert_type})"
        fate = fates.get(key, Counter())
        status, reason = outcomes.get(key, ("missing", None))
        delivered = fate[DELIVERED]
        if delivered + fate[NO_ANSWER] > 1 or (delivered and region not in REGIONS):
            tally.broken.append(("duplicates", f"{name}: {dict(fate)}"))
        if status == "sent" and not delivered:
            tally.broken.append(("losses", f"{name} is on record as sent, but Slack saw {dict(fate)}"))
        wanted = status in {"sent", "unconfirmed"} if region in REGIONS else reason == "unknown_region"
        if not wanted:
            tally.broken.append(("losses", f"{name} is {status} ({reason}) after the last replay"))
        heading = HEADINGS.get(reason or "", HEADINGS.get(status))
        if status != "sent" and (key, heading) not in listed:
            line = f"{name} is {status} ({reason}), and no accepted mail lists it so"
            tally.broken.append(("unlisted", line))
        tally.counts["alerts posted"] += delivered
        tally.counts["unconfirmed"] += status == "unconfirmed"
        unexplained += status == "unconfirmed" and not fate[NO_ANSWER]
    if unexplained > world.runs_harmed * len(REGIONS):
        line = f"{world.month}: {unexplained} unconfirmed for {world.runs_harmed} runs harmed"
        tally.broken.append(("others", line))
    for run_id, status, counts_by_type in runs:
        if status == "running":
            tally.broken.append(("others", f"run {run_id} is still running"))
        wrong = _wrong(counts_by_type)
        tally.broken += [("others", f"run {run_id} does not add up for {name}") for name in wrong]


def _wrong(counts_by_type: str) -> list[str]:
    """Return the alert types whose counts do not add up."""
    ends = ("below_threshold", "alerts_sent", "skipped_replay", "failed_deliveries", "would_send")
    by_type = json.loads(counts_by_type).items()
    return [name for name, counts in by_type if counts[name] != sum(counts[end] for end in ends)]


def check_secrets(folders: Iterable[Path], secrets: Iterable[str], tally: Tally) -> None:
    """Search every file of the folder for the secrets."""
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        with suppress(FileNotFoundError):  # A running database removes files.
            content = path.read_bytes()
            found = [secret for secret in secrets if secret.encode() in content]
            tally.broken += [("others", f"{secret} is in {path}") for secret in found]
