"""The short form of `make chaos`: two rounds of a fixed seed, less than a minute on a quiet machine."""

import pytest

from tests.chaos.driver import play
from tests.chaos.plan import Harm, plan
from tests.chaos.tally import Tally
from tests.prefect_homes import NewHome

SEED, ROUNDS = 166, 2


@pytest.mark.timeout(600)
def test_nothing_is_posted_twice_and_nothing_is_lost_or_untold_whatever_is_harmed(
    new_prefect_home: NewHome,
) -> None:
    tally = Tally()
    play(ROUNDS, SEED, tally.add, prefect_home=new_prefect_home())
    assert not tally.failed, f"{tally}"
    assert tally.rounds == ROUNDS
    assert tally.posted


def test_the_fixed_seed_kills_job_api_and_prefect_and_stops_the_api() -> None:
    rounds = [plan(SEED, number) for number in range(ROUNDS)]
    assert {fate.harm for found in rounds for fate in found.jobs} == {Harm.KILL}
    assert {found.api.harm for found in rounds if found.posts} == {Harm.STOP, Harm.KILL}
    assert {found.prefect.harm for found in rounds} == {Harm.LET, Harm.KILL}
    assert any(found.hangs_up for found in rounds)


def test_the_same_seed_brings_the_same_choices() -> None:
    assert [plan(5, number) for number in range(50)] == [plan(5, number) for number in range(50)]
    assert plan(5, 1) != plan(6, 1)
