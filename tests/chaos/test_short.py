"""The short form of `make chaos`: one round that breaks every service."""

import pytest

from tests.chaos.driver import play
from tests.chaos.plan import FaultKind, plan
from tests.chaos.tally import Tally
from tests.prefect_homes import new_home

SEED, ROUNDS = 58196, 1


def test_harmed_runs_post_nothing_twice_and_lose_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    tally = Tally()
    play(ROUNDS, SEED, tally.add, prefect_home=new_home(tmp_path_factory))
    assert not tally.broken, f"{tally}"
    assert tally.counts["rounds"] == ROUNDS
    assert tally.counts["alerts posted"]


def test_fixed_seed_harms_job_api_prefect_disk_and_client() -> None:
    only = plan(SEED, 0)
    assert [fault.kind for fault in only.jobs] == [FaultKind.KILL]
    assert (only.posts, only.api.kind, only.prefect.kind) == (1, FaultKind.STOP, FaultKind.KILL)
    assert only.disk.kind is FaultKind.FILL
    assert only.hangs_up


def test_same_seed_makes_the_same_choices() -> None:
    assert [plan(5, number) for number in range(50)] == [plan(5, number) for number in range(50)]
    assert plan(5, 1) != plan(6, 1)
