"""`make chaos`: the real batch job and API, harmed at random, with a hostile Slack and a hostile mail server.

    python -m tests.chaos.driver [--rounds 200] [--seed N] [--lanes 2]

A world is one month with accounts of its own. In each of its rounds batch jobs and requests to the API run
the month side by side, and are killed (SIGKILL), stopped (SIGTERM), frozen for longer than Slack is waited
for, or left to end; in some rounds Prefect's server dies or freezes too. Then Slack and the mail server turn
kind, and a last replay closes the world. Then the promises are checked, in `check.py`.

A lane plays worlds one after the other, on a ledger and servers of its own; lanes go side by side, for much
of a round is waiting.

What is random comes from the seed, round by round (`plan.py`), and account by account (`slack.py`), so that a
seed brings the same choices again; what the machine makes of them may differ.
"""

import argparse
import multiprocessing
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tests.chaos.stage import Stage
from tests.chaos.tally import Tally

ROUNDS_A_WORLD = 3
TOLD_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
INTERRUPTED = 130
"""The exit code of a program that was told to stop."""


def main() -> int:
    """Play the lanes and print the tally; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.driver", description="Fault tests by a seed."
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--lanes", type=int, default=2, help="how many worlds are played side by side")
    options = parser.parse_args()
    # However it is told to stop, it leaves nothing behind; in the background SIGINT is ignored otherwise.
    for number in TOLD_TO_STOP:
        signal.signal(number, _interrupt)
    sys.stdout.write(f"seed {options.seed}\n")
    total = Tally()
    try:
        with closing(play_side_by_side(options.rounds, options.seed, options.lanes)) as tallies:
            for tally in tallies:
                total.add(tally)
                sys.stdout.write(f"{total}\n")
                sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stdout.write("interrupted\n")
        return INTERRUPTED
    return 1 if total.failed else 0


def _interrupt(*_: object) -> None:
    # Once: Ctrl-C reaches every lane, and then the one that waits for them ends them too.
    for number in TOLD_TO_STOP:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def play_side_by_side(rounds: int, seed: int, lanes: int) -> Generator[Tally, None, None]:
    """Play each lane in a process of its own; gives the tally of each world when it is over.

    A lane that ends before its last world is a promise broken.
    """
    context = multiprocessing.get_context("fork")
    processes = {}
    for lane in range(lanes):
        ours, theirs = context.Pipe(duplex=False)
        processes[ours] = context.Process(target=_send_lane, args=(theirs, rounds, seed, lane, lanes))
        processes[ours].start()
        theirs.close()
    try:
        open_ends = set(processes)
        while open_ends:
            for end in wait(open_ends):
                assert isinstance(end, Connection)
                try:
                    yield end.recv()
                except EOFError:
                    open_ends.remove(end)
        for process in processes.values():
            process.join()
            if process.exitcode:
                yield Tally(broken=[f"{process.name} ended with {process.exitcode}"])
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.join()


def _send_lane(results: Connection, rounds: int, seed: int, lane: int, lanes: int) -> None:
    try:
        play(rounds, seed, results.send, lane, lanes)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def play(
    rounds: int,
    seed: int,
    report: Callable[[Tally], None],
    lane: int = 0,
    lanes: int = 1,
    prefect_home: Path | None = None,
) -> None:
    """Play every `lanes`-th world of so many rounds, all that is random by `seed`; reports each one's tally.

    Prefect's server keeps its records in `prefect_home`, or else in a new home.
    When a promise is broken, the folder with ledger and logs is kept, and the tally names it.
    """
    with _evidence() as keep, Stage(keep.folder, seed, lane, prefect_home) as stage:
        for number in range(lane, -(-rounds // ROUNDS_A_WORLD), lanes):
            first = number * ROUNDS_A_WORLD
            tally = stage.world(number, range(first, min(first + ROUNDS_A_WORLD, rounds)))
            if tally.failed:
                keep.wanted = True
                tally.broken.append(f"ledger and logs are in {keep.folder}")
            report(tally)


@dataclass
class Evidence:
    """A folder, and whether what is in it is wanted."""

    folder: Path
    wanted: bool = False


@contextmanager
def _evidence() -> Iterator[Evidence]:
    """Give a folder that is gone at the end, unless it is wanted or what ended it is a fault."""
    evidence = Evidence(Path(tempfile.mkdtemp(prefix="chaos-")))
    try:
        yield evidence
    except Exception as fault:
        evidence.wanted = True
        fault.add_note(f"ledger and logs are in {evidence.folder}")
        raise
    finally:
        if not evidence.wanted:
            shutil.rmtree(evidence.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
