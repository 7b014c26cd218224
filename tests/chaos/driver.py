"""`make chaos`: break the real batch job and API at random, with a hostile Slack and a hostile mail server.

    python -m tests.chaos.driver [--rounds 200] [--seed N] [--lanes 2]
        [--database postgresql] [--prefect none]

A world is one month with accounts of its own. In each of its rounds, batch jobs and requests to the API run
the month concurrently. Some are killed (SIGKILL), stopped (SIGTERM), or frozen for longer than the timeout of
Slack. In some rounds Prefect's server dies or freezes too, or the disk of the ledger is full for some
seconds. Then Slack and the mail server become well-behaved, a last replay closes the world, and `check.py`
checks the promises.

A lane plays worlds one after the other, on its own ledger and servers. Lanes run concurrently, because a
round mostly waits.

The seed decides all random choices, by round (`plan.py`) and by account (`slack.py`), so that a seed repeats
them. The timing of the machine may differ.
"""

import argparse
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.chaos.ledger import ledger_on_a_disk
from tests.chaos.stage import Stage
from tests.chaos.tally import Tally
from tests.postgresql import programs

ROUNDS_A_WORLD = 3
TOLD_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
INTERRUPTED = 130
"""The exit code of a program that a signal stopped."""


def main() -> int:
    """Play each lane in a process of its own; return 1 when a promise was broken or a lane ended early."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.driver", description="Fault tests, repeatable by their seed."
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--lanes", type=int, default=2, help="how many worlds are played side by side")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument(
        "--prefect", choices=["server", "none"], default="server", help="none: no Prefect API is configured"
    )
    options = parser.parse_args()
    if options.database == "postgresql" and not programs():
        parser.error("PostgreSQL is not installed (apt-get install postgresql)")
    # Clean up on either signal. A program in the background would ignore SIGINT by default.
    for number in TOLD_TO_STOP:
        signal.signal(number, _interrupt)
    sys.stdout.write(f"seed {options.seed}\n")
    sys.stdout.flush()
    context = multiprocessing.get_context("fork")
    lanes = [context.Process(target=_play_lane, args=(lane, options)) for lane in range(options.lanes)]
    for lane in lanes:
        lane.start()
    try:
        for lane in lanes:
            lane.join()
    except KeyboardInterrupt:
        sys.stdout.write("interrupted\n")
        return INTERRUPTED
    finally:
        for lane in lanes:
            lane.terminate()
        for lane in lanes:
            lane.join()
            # A lane that was interrupted while it started a process does not know that process.
            with suppress(ProcessLookupError):
                os.killpg(lane.pid, signal.SIGKILL)
    return int(any(lane.exitcode for lane in lanes))


def _interrupt(*_: object) -> None:
    # Only once: Ctrl-C reaches every lane, and then the parent stops them again.
    for number in TOLD_TO_STOP:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _play_lane(lane: int, options: argparse.Namespace) -> None:
    """Play the worlds of a lane, and print its tally after each; exit with 1 when a promise was broken.

    The lane and the processes that it starts are a process group.
    """
    os.setpgrp()
    total = Tally()

    def report(tally: Tally) -> None:
        total.add(tally)
        sys.stdout.write(f"lane {lane}: {total}\n")
        sys.stdout.flush()

    home = Path("prefect") if options.prefect == "server" else None
    try:
        play(options.rounds, options.seed, report, lane, options.lanes, options.database, home)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(bool(total.broken))


def play(
    rounds: int,
    seed: int,
    report: Callable[[Tally], None],
    lane: int = 0,
    lanes: int = 1,
    database: str = "sqlite",
    prefect_home: Path | None = Path("prefect"),
) -> None:
    """Play every `lanes`-th world of `rounds` rounds; report the tally of each.

    Prefect's server stores its records in `prefect_home`, which may be relative to the folder of the lane.
    Without one, no Prefect API is configured. When a promise is broken, the folder with ledger and logs is
    kept, and the tally names it.
    """
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    keep = False
    try:
        with (
            ledger_on_a_disk(folder, database) as ledger,
            Stage(folder, ledger, seed, lane, prefect_home) as stage,
        ):
            for number in range(lane, -(-rounds // ROUNDS_A_WORLD), lanes):
                first = number * ROUNDS_A_WORLD
                tally = stage.world(number, range(first, min(first + ROUNDS_A_WORLD, rounds)))
                if tally.broken:
                    keep = True
                    tally.broken.append(("others", f"ledger and logs are in {folder}"))
                report(tally)
    except Exception as fault:
        keep = True
        fault.add_note(f"ledger and logs are in {folder}")
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
