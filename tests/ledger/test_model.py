"""The ledger compared with a model of plain dicts that has the same rules and no database."""

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from random import Random

import pytest
from hypothesis import settings

from core.domain import (
    Alert,
    AlertKey,
    AlertStatus,
    AlreadyResolved,
    Decision,
    Delivery,
    InternalError,
    Interrupted,
    NotUnconfirmed,
    OutcomeNotFound,
    Resolution,
    RunRequest,
    TooManyAlerts,
)
from core.ledger import Ledger
from core.ledger.liveness import ProcessIdentity
from tests.delivery.world import MONTH, NOW, OTHER_MONTH, assessment, close_as_dead, key, query, routed

KEYS = (key("A-1"), key("A-1", "recovered"), key("A-2"), key("A-3", "of_the_tests"))
"""One account has alerts of two types, of which one exists only in the tests."""
BELOW = 2
TIMES = 2
"""A write is repeated when the answer to its commit was lost."""


def routed_to(found: AlertKey, channel: str | None) -> Alert:
    return routed(found.account_id, channel, found.alert_type)


@dataclass
class ModelOutcome:
    """The recorded outcome of one alert."""

    status: str
    run: str
    was_unconfirmed: bool = False
    """Whether an attempt before that of `run` may have delivered it."""
    decision: Decision | None = None
    """What a person decided about the attempt of `run`."""


@dataclass
class ModelRun:
    """A run, and whether its process lives; a live run that is closed was considered dead."""

    run_id: str
    month: date
    retry: bool
    dry: bool
    pid: int
    status: str = "running"
    alive: bool = True
    planned: bool = False
    over_limit: bool = False
    channels: dict[AlertKey, str | None] = field(default_factory=dict)
    alerts: dict[AlertKey, str] = field(default_factory=dict)
    claims: list[AlertKey] = field(default_factory=list)
    pending: list[AlertKey] = field(default_factory=list)
    """The alerts to send that the process has not tried to claim."""

    def owner(self) -> ProcessIdentity:
        return ProcessIdentity("here", self.pid, "now")


class LedgerBesideModel:
    """Each event does the same to both; after each event, both must have the same state.

    Random walks and not a state machine of hypothesis, which seldom gets to an alert that is sent again.
    """

    def __init__(self, path: Path, ledger: Ledger, random: Random) -> None:
        self.path, self.ledger, self.random = path, ledger, random
        self.runs: dict[str, ModelRun] = {}
        self.outcomes: dict[tuple[AlertKey, date], ModelOutcome] = {}
        self.decisions = 0
        self.once_sent: set[tuple[AlertKey, date]] = set()

    def step(self) -> None:
        """Run one random event that is possible now."""
        living = [run for run in self.runs.values() if run.alive]
        possible = {
            self.plan: [run for run in living if not run.planned],
            self.claim: [run for run in living if run.pending],
            self.record: [run for run in living if run.claims],
            self.end: living,
        }
        events = [event for event, runs in possible.items() if runs]
        if self.random.random() < 0.1:
            self.resolve()
        # Most of the time at least two runs compete.
        elif len(living) < 2 or (len(living) < 4 and self.random.random() < 0.1):
            self.begin()
        else:
            # A run has one plan and one end, and many claims.
            weights = [4 if event in {self.claim, self.record} else 1 for event in events]
            [event] = self.random.choices(events, weights)
            event(self.random.choice(possible[event]))

    # The rules of the contract

    def _may(self, run: ModelRun, account: AlertKey) -> str:
        outcome = self.outcomes.get((account, run.month))
        if outcome and outcome.status in {"sent", "sending"}:
            return "skipped_replay"
        has_channel = run.channels[account] is not None
        if outcome and outcome.status == "unconfirmed" and not (run.retry and has_channel):
            return "unconfirmed"
        return "pending" if has_channel else "failed"

    def _model_close(self, run: ModelRun, status: str, *, over_limit: bool = False) -> None:
        for outcome in self.outcomes.values():
            if outcome.run == run.run_id and outcome.status == "sending":
                outcome.status = "unconfirmed"
        ends = {"sending": "unconfirmed", "pending": "failed"}
        if over_limit:
            ends["would_send"] = "failed"
        for account, found in run.alerts.items():
            run.alerts[account] = ends.get(found, found)
        run.status = status

    # Events

    def begin(self) -> None:
        month = self.random.choice([MONTH] * 5 + [OTHER_MONTH])
        retry, dry = self.random.random() < 0.5, self.random.random() < 0.15
        number = len(self.runs) + 1
        run = ModelRun(f"run-{number}", month, retry, dry, pid=number)
        self.runs[run.run_id] = run
        request = RunRequest("file:///source", month, dry, retry)
        self.ledger.begin_run(run.run_id, request, run.owner(), None, NOW)

    def plan(self, run: ModelRun) -> None:
        channels = {
            account: self.random.choice(["amer", "amer", "emea", None])
            for account in KEYS
            if self.random.random() < 0.8
        }
        limit = self.random.choice([0] * 7 + [2])
        run.planned, run.channels = True, channels
        alerts = [routed_to(account, channel) for account, channel in sorted(channels.items())]

        def really() -> list[AlertKey]:
            to_send = self.ledger.plan(run.run_id, assessment(alerts, BELOW), alerts, limit, NOW)
            return [item.key for item in to_send]

        if run.status != "running":
            run.channels = {}
            with pytest.raises(Interrupted):
                really()
            return
        run.alerts = {account: self._may(run, account) for account in channels}
        to_send = sorted(account for account, status in run.alerts.items() if status == "pending")
        if run.dry:
            run.alerts.update(dict.fromkeys(to_send, "would_send"))
        if 0 < limit < len(to_send):
            run.over_limit = True
            run.alerts.update(dict.fromkeys(to_send[limit:], "failed"))
            with pytest.raises(TooManyAlerts):
                really()
            return
        if run.dry:
            assert really() == []
            return
        for account, status in run.alerts.items():
            if status == "failed":
                self.outcomes[account, run.month] = ModelOutcome("failed", run.run_id)
        run.pending = to_send
        assert really() == to_send

    def claim(self, run: ModelRun) -> None:
        account = self.random.choice(run.pending)
        run.pending.remove(account)
        alert = routed_to(account, run.channels[account])
        if run.status != "running":
            with pytest.raises(Interrupted):
                self.ledger.claim(run.run_id, alert, NOW)
            return
        allowed = self._may(run, account)
        if allowed == "pending":
            before = self.outcomes.get((account, run.month))
            was_unconfirmed = before is not None and before.status == "unconfirmed"
            self.outcomes[account, run.month] = ModelOutcome("sending", run.run_id, was_unconfirmed)
            run.claims.append(account)
            allowed = "sending"
        run.alerts[account] = allowed
        for _ in range(TIMES):
            assert self.ledger.claim(run.run_id, alert, NOW).status == allowed

    def record(self, run: ModelRun) -> None:
        account = self.random.choice(run.claims)
        answer = self.random.choice(["sent", "failed", "unconfirmed"])
        run.claims.remove(account)
        outcome = self.outcomes[account, run.month]
        stays = answer
        # A person who decided to send it again may have looked too early.
        was_posted = outcome.decision is Decision.SEND_AGAIN and answer == "sent"
        if outcome.run == run.run_id and (outcome.decision is None or was_posted):
            stays = "unconfirmed" if answer == "failed" and outcome.was_unconfirmed else answer
            outcome.status, outcome.decision = stays, None
        run.alerts[account] = stays
        delivery = Delivery(*account, AlertStatus(answer), run.channels[account], "why", "because", 1)
        for _ in range(TIMES):
            assert self.ledger.record_answer(run.run_id, delivery, NOW).status == stays

    def resolve(self) -> None:
        decision = self.random.choice(list(Decision))
        account, month = self.random.choice(KEYS), self.random.choice([MONTH, OTHER_MONTH])
        unconfirmed = [key for key, found in self.outcomes.items() if found.status == "unconfirmed"]
        if unconfirmed and self.random.random() < 0.7:
            account, month = self.random.choice(unconfirmed)
        outcome = self.outcomes.get((account, month))
        refusal: type[Exception] | None = None
        if outcome is None:
            refusal = OutcomeNotFound
        elif outcome.status != "unconfirmed":
            refusal = AlreadyResolved if outcome.decision else NotUnconfirmed
        else:
            outcome.status = "sent" if decision is Decision.DELIVERED else "failed"
            outcome.decision = decision
            self.decisions += 1
        resolution = Resolution(account, month, decision, "ana", None, NOW)
        if refusal:
            with pytest.raises(refusal):
                self.ledger.resolve(resolution)
        else:
            self.ledger.resolve(resolution)

    def end(self, run: ModelRun) -> None:
        how = self.random.choice(["finishes", "fails", "crashes", "seems dead", "seems dead"])
        if run.status == "running" and how in {"crashes", "seems dead"}:
            run.alive = how == "seems dead"
            self._model_close(run, "failed")
            assert close_as_dead(self.ledger, run.owner()) == [run.run_id]
            return
        failed = how == "fails" or run.over_limit
        self._model_close(run, "failed" if failed else "succeeded", over_limit=run.over_limit)
        run.alive = False
        error = (TooManyAlerts if run.over_limit else InternalError)("broken") if failed else None
        for _ in range(TIMES):
            self.ledger.finish(run.run_id, error, NOW)

    # What holds after each event

    def assert_agreement(self) -> None:
        rows = query(self.path, "SELECT account_id, alert_type, month, status, run_id FROM alert_outcomes")
        found = {
            (AlertKey(account, kind), date.fromisoformat(month)): (status, run)
            for account, kind, month, status, run in rows
        }
        assert len(found) == len(rows)
        assert found == {key: (outcome.status, outcome.run) for key, outcome in self.outcomes.items()}
        alerts: dict[str, dict[AlertKey, str]] = {run_id: {} for run_id in self.runs}
        for run_id, account, kind, status in query(
            self.path, "SELECT run_id, account_id, alert_type, status FROM run_alerts"
        ):
            alerts[run_id][AlertKey(account, kind)] = status
        assert alerts == {run_id: run.alerts for run_id, run in self.runs.items()}
        statuses = dict(query(self.path, "SELECT run_id, status FROM runs"))
        assert statuses == {run_id: run.status for run_id, run in self.runs.items()}
        assert query(self.path, "SELECT count(*) FROM resolutions") == [(self.decisions,)]

        sent = {key for key, (status, _) in found.items() if status == "sent"}
        assert self.once_sent <= sent, "an outcome has left `sent`"
        self.once_sent = sent
        for status, run_id in found.values():
            assert status != "sending" or statuses[run_id] == "running", "a claim of a run that is over"

    def assert_closed_runs_add_up(self) -> None:
        closed = "SELECT run_id, counts_by_type FROM runs WHERE status != 'running'"
        for run_id, stored in query(self.path, closed):
            for kind, counts in json.loads(stored).items():
                statuses = [
                    status for found, status in self.runs[run_id].alerts.items() if found.alert_type == kind
                ]
                unconfirmed = statuses.count("unconfirmed")
                expected = {
                    "alerts_sent": statuses.count("sent"),
                    "skipped_replay": statuses.count("skipped_replay"),
                    "failed_deliveries": statuses.count("failed") + unconfirmed,
                    "would_send": statuses.count("would_send"),
                }
                assert {name: counts[name] for name in expected} == expected
                assert counts["unconfirmed"] == unconfirmed
                assert counts[kind] == counts["below_threshold"] + sum(expected.values())


@pytest.mark.hypothesis
@pytest.mark.parametrize("walk", range(settings().max_examples))
def test_ledger_behaves_like_the_model(path: Path, ledger: Ledger, walk: int) -> None:
    both = LedgerBesideModel(path, ledger, Random(walk))  # noqa: S311  # the same walk each time
    for _ in range(40):
        both.step()
        both.assert_agreement()
        both.assert_closed_runs_add_up()
