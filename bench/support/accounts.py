"""Generate account health of any size and layout from a seed, in the memory of a few row groups.

Every value is a hash of account, months back and column, so that a row is the same in every layout and can be
generated on its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.support.answer import MONTH
from core.domain import months_before

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Hashes: TypeAlias = npt.NDArray[np.uint64]
Keys: TypeAlias = tuple[Ints, Ints, Bools]
"""Accounts, months back, and which of these rows are the later one of their account and month."""

ROW_GROUP = 262_144
SEED = 20_260_101
ANY_MONTH = -1
"""Months back in the hash of a value that an account has in every month."""

AT_RISK, HEALTHY, CHURNED = 0, 1, 2
STATUSES = pa.array(["At Risk", "Healthy", "Churned"])
REGIONS = pa.array(["AMER", "EMEA", "APAC", "LATAM", None])
REGION_SHARES = (0.45, 0.30, 0.17, 0.07, 0.01)
SUFFIXES = pa.array(["Inc.", "Ltd", "GmbH", "LLC", "S.A.", "Group", "Holdings", "AG"])
SPOKEN = "ar bel cor dyn el fin gal hex in jo kin lum mer nor ol"
SYLLABLES = SPOKEN.split()
WORDS = pa.array([f"{a}{b}{c}".title() for a in SYLLABLES for b in SYLLABLES for c in ("ia", "tech", "ix")])
OWNERS = pa.array(
    [f"{a.title()}a {b.title()}{c}son" for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES[:2]]
)
DAY_US = 86_400_000_000

SCHEMA = pa.schema(
    [
        ("account_id", pa.string()),
        ("account_name", pa.string()),
        ("account_region", pa.string()),
        ("month", pa.date32()),
        ("status", pa.string()),
        ("renewal_date", pa.date32()),
        ("account_owner", pa.string()),
        ("arr", pa.int64()),
        ("updated_at", pa.timestamp("us")),
    ]
)


@dataclass(frozen=True)
class World:
    """Numbers of accounts and months, and the longest streak.

    `long_streaks`: the number of accounts that are at risk in every month; no other is at risk in the newest
    month.
    """

    accounts: int = 300_000
    months: int = 36
    longest: int = 36
    long_streaks: int = 0


def by_month(world: World) -> Iterator[Keys]:
    """Yield the rows with the oldest month first."""
    for back in reversed(range(world.months)):
        yield _in_month(world, back)


def by_account(world: World) -> Iterator[Keys]:
    """Yield the rows sorted by account, each account's months in order."""
    at_once = 10_000
    for start in range(0, world.accounts, at_once):
        some: Ints = np.arange(start, min(start + at_once, world.accounts), dtype=np.int64)
        account: Ints = np.repeat(some, world.months)
        back = np.tile(np.arange(world.months, dtype=np.int64)[::-1], len(some))
        times = 1 + _has_duplicate(account, back)
        account, back = np.repeat(account, times), np.repeat(back, times)
        again = np.concatenate([[False], (account[1:] == account[:-1]) & (back[1:] == back[:-1])])
        yield account, back, again


def shuffled(world: World) -> Iterator[Keys]:
    """Yield the rows in no order."""
    months = [_in_month(world, back) for back in range(world.months)]
    account, back, again = (np.concatenate(column) for column in zip(*months, strict=True))
    order = np.random.default_rng(SEED).permutation(len(account))
    for start in range(0, len(order), ROW_GROUP):
        these = order[start : start + ROW_GROUP]
        yield account[these], back[these], again[these]


def write_file(world: World, parts: Iterator[Keys], path: Path) -> None:
    """Write the rows of `parts` to one file, in row groups of the same size."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        waiting = SCHEMA.empty_table()
        for part in parts:
            waiting = pa.concat_tables([waiting, _rows(world, *part)])
            while waiting.num_rows >= ROW_GROUP:
                writer.write_table(waiting.slice(0, ROW_GROUP).combine_chunks())
                waiting = waiting.slice(ROW_GROUP)
        if waiting.num_rows:
            writer.write_table(waiting.combine_chunks())


def write_monthly_files(world: World, folder: Path, files_a_month: int = 1) -> None:
    """Write a folder with files of one month each."""
    folder.mkdir()
    for back in range(world.months):
        columns = [np.array_split(column, files_a_month) for column in _in_month(world, back)]
        for number, (account, months, again) in enumerate(zip(*columns, strict=True)):
            path = folder / f"{months_before(MONTH, back)}-{number:02}.parquet"
            write_file(world, iter([(account, months, again)]), path)


def _in_month(world: World, back: int) -> Keys:
    """Return the rows of a month: first one for each account, then the corrections."""
    first: Ints = np.arange(world.accounts, dtype=np.int64)
    if not world.long_streaks:  # The order within a month is random, and differs between months.
        first = first[np.argsort(_hash(first, back, 9), kind="stable")]
    account = np.concatenate([first, first[_has_duplicate(first, back)]])
    return account, np.full_like(account, back), np.arange(len(account)) >= len(first)


def _has_duplicate(account: Ints, back: Ints | int) -> Bools:
    """Return which pairs of account and month have two rows."""
    return _share(account, back, 8) < 0.01


def _rows(world: World, account: Ints, back: Ints, again: Bools) -> pa.Table:
    days = (np.datetime64(MONTH, "M") - back).astype("datetime64[D]").astype(np.int32)
    number = pc.utf8_lpad(pa.array(account).cast(pa.string()), 7, "0")
    words = [_pick(WORDS, _hash(account, ANY_MONTH, salt)) for salt in (1, 2)]
    name = pc.binary_join_element_wise(*words, _pick(SUFFIXES, _hash(account, ANY_MONTH, 3)), " ")
    region = np.searchsorted(np.cumsum(REGION_SHARES), _share(account, ANY_MONTH, 4))
    renewal = (days + 20 + _hash(account, back // 12, 5) % np.uint64(400)).astype(np.int32)
    owner = _share(account, back // 9, 7)
    arr, no_arr = _arr(account, back)
    time, no_time = _updated(account, back, again, days)
    columns = [
        pc.binary_join_element_wise("ACC", number, "-"),
        name,
        REGIONS.take(pa.array(np.minimum(region, len(REGIONS) - 1))),
        pa.array(days).cast(pa.date32()),
        STATUSES.take(pa.array(_status(world, account, back, again))),
        pa.array(renewal, mask=_share(account, ANY_MONTH, 6) < 0.1).cast(pa.date32()),
        OWNERS.take(pa.array((owner * len(OWNERS)).astype(np.int64), mask=owner < 0.03)),
        pa.array(arr, mask=no_arr),
        pa.array(time, mask=no_time).cast(pa.timestamp("us")),
    ]
    return pa.table(columns, schema=SCHEMA)


def _status(world: World, account: Ints, back: Ints, again: Bools) -> Ints:
    """Return the winning status; rows that lose sometimes have another one."""
    if world.long_streaks:
        every = world.accounts // world.long_streaks
        length = np.where(account % every == every // 2, world.months, 0)
    else:
        # 70 % of the streaks go on for another month, and some accounts were at risk in every month.
        chance = 1 - _share(account, ANY_MONTH, 11)
        length = 1 + np.floor(np.log(chance) / np.log(0.70)).astype(np.int64)
        length = np.where(_share(account, ANY_MONTH, 12) < 0.0005, world.longest, length)
        now = _share(account, ANY_MONTH, 10) < 0.061
        length = np.where(now, np.minimum(length, world.longest), 0)
    before = (_share(account, back, 13) < 0.05) & (back > length) & (back > 0)
    fine = np.where(_share(account, back, 14) < 0.04, CHURNED, HEALTHY)
    status = np.where((back < length) | before, AT_RISK, fine)
    if world.long_streaks:
        return status
    loses = _has_duplicate(account, back) & ~again
    return np.where(loses & (_share(account, back, 15) < 0.3), (status + 1) % 3, status)


def _arr(account: Ints, back: Ints) -> tuple[Ints, Bools]:
    """Return ARR: log-normal around 50,000, lower in earlier years, sometimes unknown."""
    radius = np.sqrt(-2 * np.log(1 - _share(account, ANY_MONTH, 16)))
    normal = radius * np.cos(2 * np.pi * _share(account, ANY_MONTH, 17))
    arr = 50_000 * np.exp(1.3 * normal) * 0.97 ** (back // 12)
    return np.round(arr / 10).astype(np.int64) * 10, _share(account, ANY_MONTH, 18) < 0.02


def _updated(account: Ints, back: Ints, again: Bools, days: npt.NDArray[np.int32]) -> tuple[Ints, Bools]:
    within = (_hash(account, back, 19) % np.uint64(20 * DAY_US)).astype(np.int64)
    later = (_hash(account, back, 20) % np.uint64(5 * DAY_US)).astype(np.int64) + 1_000_000
    time = days.astype(np.int64) * DAY_US + within + np.where(again, later, 0)
    return time, (_share(account, back, 21) < 0.0001) & ~again


def _pick(values: pa.Array, hashes: Hashes) -> pa.Array:
    return values.take(pa.array((hashes % np.uint64(len(values))).astype(np.int64)))


def _share(account: Ints, back: Ints | int, salt: int) -> npt.NDArray[np.float64]:
    return (_hash(account, back, salt) >> np.uint64(11)).astype(np.float64) / 2**53


def _hash(account: Ints, back: Ints | int, salt: int) -> Hashes:
    """Mix with splitmix64, twice."""
    value = account.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    value = _mix(value + np.uint64((SEED + salt * 0x1D8E4E27C47D124F) % 2**64))
    return _mix(value + np.asarray(back + 2, np.uint64) * np.uint64(0xD1B54A32D192ED03))


def _mix(value: Hashes) -> Hashes:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
