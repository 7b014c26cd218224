"""The services that the worlds of a lane share, and how a world is played: rounds, last replay, check."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Self

import httpx

from tests.chaos.check import ALERT_TYPES, REGIONS, World, check, check_secrets, write_world
from tests.chaos.ledger import ChaosLedger
from tests.chaos.mail import ChaosMail
from tests.chaos.plan import Clock, FaultKind, Round, plan
from tests.chaos.processes import END_SECONDS, Process, api_server, batch_job, prefect_server
from tests.chaos.slack import ChaosSlack
from tests.chaos.tally import Tally

ACCOUNTS_A_ROUND = 45
HUNG_UP_SECONDS = 30
CANARIES = {name: f"canary-{name}-7c1e" for name in ("webhook", "token", "password", "credentials")}
"""The secrets of a lane, in a form that nothing else has."""
ANSWERS = {200, 503}
"""Allowed answers of the API: the run is over, was interrupted, or could not begin."""


class Stage:
    """One ledger, the mock servers, the API, and Prefect's server if it has a home."""

    def __init__(
        self, folder: Path, ledger: ChaosLedger, seed: int, lane: int, prefect_home: Path | None
    ) -> None:
        self._folder, self._ledger, self._seed, self._tally = folder, ledger, seed, Tally()
        self._log = folder / "processes.log"
        self._slack, self._mail = ChaosSlack(seed), ChaosMail(f"{seed}/{lane}")
        self._home = prefect_home and folder / prefect_home
        self._prefect = prefect_server(self._home, folder / "prefect.log") if self._home else None
        self._environment = {
            "DATABASE_URL": ledger.url,
            "SLACK_WEBHOOK_BASE_URL": f"{self._slack.url}/services/{CANARIES['webhook']}",
            "REGIONS": json.dumps(REGIONS),
            "ALERT_TYPES": json.dumps(ALERT_TYPES),
            "SLACK_CHANNEL_RATE": "0",
            "SLACK_BACKOFF_SECONDS": "0.05",
            "SLACK_MAX_ATTEMPTS": "3",
            "SLACK_TIMEOUT_SECONDS": "3",
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self._mail.server.port),
            "SMTP_STARTTLS": "false",
            "SMTP_USERNAME": "chaos",
            "SMTP_PASSWORD": CANARIES["password"],
            "API_TOKEN": CANARIES["token"],
            "GCS_TOKEN": CANARIES["credentials"],
            # The most verbose log, so that a leaked secret would show.
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
            "PREFECT_LOGGING_INTERNAL_LEVEL": "DEBUG",
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG",
            "PREFECT_API_URL": f"{self._prefect.url}/api" if self._prefect else "",
            # Ignore the settings of the developer's machine.
            "PREFECT_HOME": str(folder / "no-prefect"),
            "CONFIG_FILE": "",
            "NO_PROXY": "127.0.0.1",
        }
        self._api = api_server(self._environment, self._log)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start the mock servers; the first round that needs the others starts them."""
        self._stack.enter_context(self._slack)
        self._mail.server.start()
        self._stack.callback(self._mail.server.stop)
        if self._prefect:
            self._stack.callback(self._prefect.kill)
        self._stack.callback(self._api.kill)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def world(self, number: int, rounds: range) -> Tally:
        """Play a month's rounds and a last replay without faults; return the tally of broken promises."""
        self._tally = Tally()
        month = date(2020 + number // 12, number % 12 + 1, 1).isoformat()
        world = World(month)
        self._slack.reliable = self._mail.reliable = False
        for position, index in enumerate(rounds, start=1):
            self._tally.counts["rounds"] += 1
            # Add accounts, so that each round has something to send.
            source = self._folder / f"{month}-{position}.parquet"
            world.regions = write_world(source, number, month, position * ACCOUNTS_A_ROUND)
            self._round(plan(self._seed, index), source.as_uri(), world)
        self._slack.reliable = self._mail.reliable = True
        self._ensure_prefect()
        # Runs whose client disconnected may still go on in the API.
        self._api.terminate()
        last = self._job(source.as_uri(), month)
        last.start()
        self._tally.counts["runs"] += 1
        if (code := last.end()) != 0:
            self._tally.broken.append(("others", f"{month}: the last replay ended with {code}"))
        check(world, self._ledger.url, self._slack.fates(f"A{number:04d}"), self._mail.listed(), self._tally)
        check_secrets([self._folder, self._home or self._folder], CANARIES.values(), self._tally)
        return self._tally

    def _round(self, now: Round, source: str, world: World) -> None:
        self._ensure_prefect()
        if now.posts:
            self._api.ensure_up()
        clocks = self._clocks()
        jobs = [self._job(source, world.month) for _ in now.jobs]
        with ThreadPoolExecutor() as pool, self._ended_when_interrupted():
            posts = [
                pool.submit(self._post, source, world.month, hangs_up=now.hangs_up and number == 0)
                for number in range(now.posts)
            ]
            harmed: list[tuple[Future[FaultKind], int]] = []
            for job, fault in zip(jobs, now.jobs, strict=True):
                job.start()
                harmed.append((pool.submit(job.apply_fault, fault, clocks, _ended(job)), 1))
            if posts:
                # The end of a run whose client disconnected is not reported.
                patience = HUNG_UP_SECONDS if now.hangs_up else 0
                over = _all_done(posts, lambda: clocks[Clock.SECONDS]() > patience)
                fault_of_api = pool.submit(self._api.apply_fault, now.api, clocks, over)
                harmed.append((fault_of_api, now.posts + world.runs_left))
            everything = _all_ended(jobs, posts)
            # Every run of the round works on the full disk.
            disk = pool.submit(self._ledger.apply_fault, now.disk, clocks, everything)
            harmed.insert(0, (disk, len(jobs) + now.posts))
            if self._prefect:
                prefect = pool.submit(self._prefect.apply_fault, now.prefect, clocks, everything)
                if prefect.result() is not FaultKind.NONE:
                    self._tally.counts["outages of Prefect"] += 1
                    self._prefect.ensure_up()
            for job in jobs:
                job.end()
        self._tally.counts["runs"] += len(jobs) + now.posts
        for future, runs in harmed:
            self._tally.counts[future.result()] += 1
            if future.result() in {FaultKind.KILL, FaultKind.FREEZE, FaultKind.FILL}:
                world.runs_harmed += runs
        if posts and harmed[-1][0].result() in {FaultKind.NONE, FaultKind.FREEZE}:
            world.runs_left += now.hangs_up
            answers = [post.result() for post in posts]
            wrong = [answer for answer in answers if answer is not None and answer not in ANSWERS]
            self._tally.broken += [("others", f"{world.month}: the API answered {it}") for it in wrong]

    def _ensure_prefect(self) -> None:
        if self._prefect:
            self._prefect.ensure_up()

    @contextmanager
    def _ended_when_interrupted(self) -> Iterator[None]:
        """End every process before this one stops, because the threads of the pool wait for them."""
        try:
            yield
        except BaseException:
            self._stack.close()
            raise

    def _job(self, source: str, month: str) -> Process:
        job = batch_job(source, month, self._environment, self._log)
        self._stack.callback(job.kill)
        return job

    def _clocks(self) -> dict[Clock, Callable[[], float]]:
        started, messages, mails = time.monotonic(), len(self._slack.seen), self._mail.offered
        return {
            Clock.SECONDS: lambda: time.monotonic() - started,
            Clock.MESSAGES: lambda: len(self._slack.seen) - messages,
            Clock.MAILS: lambda: self._mail.offered - mails,
        }

    def _post(self, source: str, month: str, *, hangs_up: bool) -> int | str | None:
        """Request a run of the API; return the status, the error, or None for a client that disconnected."""
        try:
            answer = httpx.post(
                f"{self._api.url}/runs",
                json={"source_uri": source, "month": month},
                headers={"Authorization": f"Bearer {CANARIES['token']}"},
                timeout=1 if hangs_up else END_SECONDS,
            )
        except httpx.HTTPError as error:
            return None if hangs_up else type(error).__name__
        return answer.status_code


def _ended(job: Process) -> Callable[[], bool]:
    return lambda: not job.running


def _all_done(posts: list["Future[int | str | None]"], late: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: late() and all(post.done() for post in posts)


def _all_ended(jobs: list[Process], posts: list["Future[int | str | None]"]) -> Callable[[], bool]:
    return lambda: not any(job.running for job in jobs) and all(post.done() for post in posts)
