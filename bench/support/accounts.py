"""Generate account health of any size and layout from a seed, in the memory of a few row groups.

Every value is a hash of (seed, account, months back, column), so that a row is the same in every layout and
can be generated on its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.support.answer import MONTH

Ints: TypeAlias = npt.NDArray[np.int64]
Hashes: TypeAlias = npt.NDArray[np.uint64]

ROW_GROUP = 262_144
SEED = 20_260_101

AT_RISK, HEALTHY, CHURNED = 0, 1, 2
STATUSES = pa.array(["At Risk", "Healthy", "Churned"])
REGIONS = pa.array(["AMER", "EMEA", "APAC", "LATAM", None])
REGION_SHARES = (0.45, 0.30, 0.17, 0.07, 0.01)
SUFFIXES = pa.array(["Inc.", "Ltd", "GmbH", "LLC", "S.A.", "Group", "Holdings", "AG"])
SYLLABLES = (
    "ar",
    "bel",
    "cor",
    "dyn",
    "el",
    "fin",
    "gal",
    "hex",
    "in",
    "jo",
    "kin",
    "lum",
    "mer",
    "nor",
    "ol",
)
WORDS = pa.array([f"{a}{b}{c}".title() for a in SYLLABLES for b in SYLLABLES for c in ("ia", "tech", "ix")])
OWNERS = pa.array(
    [f"{a.title()}a {b.title()}{c}son" for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES[:2]]
)

OWNERLESS = 0.03
AT_RISK_NOW = 0.061
AT_RISK_BEFORE = 0.05
STREAK_GOES_ON = 0.70
DAY_US = 86_400_000_000
DUPLICATES = 0.01
OTHER_STATUS = 0.3

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


def month_back(back: int) -> date:
    """Return the first day of the month that is this number of months before the newest."""
    number = MONTH.year * 12 + MONTH.month - 1 - back
    return date(number // 12, number % 12 + 1, 1)


class Maker:
    """Generates the rows of a world."""

    def __init__(self, world: World, seed: int = SEED) -> None:
        self.world = world
        self._seed = np.uint64(seed)
        epoch = date(1970, 1, 1)
        self._days = np.array(
            [(month_back(back) - epoch).days for back in range(world.months)], dtype=np.int32
        )

    def rows(self, account: Ints, back: Ints, again: npt.NDArray[np.bool_]) -> pa.Table:
        """Return the rows of these accounts and months back; `again` marks the later row of a month."""
        every = np.zeros_like(back) - 1
        days = self._days[back]
        number = pc.utf8_lpad(pa.array(account).cast(pa.string()), 7, "0")
        words = [_pick(WORDS, self._hash(account, every, salt)) for salt in (1, 2)]
        name = pc.binary_join_element_wise(*words, _pick(SUFFIXES, self._hash(account, every, 3)), " ")
        shares = np.searchsorted(np.cumsum(REGION_SHARES), self._share(account, every, 4))
        region = REGIONS.take(pa.array(np.minimum(shares, len(REGIONS) - 1)))
        renewal = (days + 20 + self._hash(account, back // 12, 5) % np.uint64(400)).astype(np.int32)
        no_renewal = self._share(account, every, 6) < 0.1
        owner_share = self._share(account, back // 9, 7)
        owners = (owner_share * len(OWNERS)).astype(np.int64)
        owner = OWNERS.take(pa.array(owners, mask=owner_share < OWNERLESS))
        arr, no_arr = self._arr(account, back)
        time, no_time = self._updated(account, back, again, days)
        columns: list[Any] = [
            pc.binary_join_element_wise("ACC", number, "-"),
            name,
            region,
            pa.array(days).cast(pa.date32()),
            STATUSES.take(pa.array(self._status(account, back, again))),
            pa.array(renewal, mask=no_renewal).cast(pa.date32()),
            owner,
            pa.array(arr, mask=no_arr),
            pa.array(time, mask=no_time).cast(pa.timestamp("us")),
        ]
        return pa.table(columns, schema=SCHEMA)

    def has_duplicate(self, account: Ints, back: Ints) -> npt.NDArray[np.bool_]:
        """Return which pairs of account and month have two rows."""
        return self._share(account, back, 8) < DUPLICATES

    def in_month(self, back: int) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
        """Return the rows of a month: first one for each account, then the corrections."""
        first: Ints = np.arange(self.world.accounts, dtype=np.int64)
        if not self.world.long_streaks:  # The order within a month is random, and differs between months.
            first = first[np.argsort(self._hash(first, np.full_like(first, back), 9), kind="stable")]
        later = first[self.has_duplicate(first, np.full_like(first, back))]
        account = np.concatenate([first, later])
        again = np.arange(len(account)) >= len(first)
        return account, np.full_like(account, back), again

    def _status(self, account: Ints, back: Ints, again: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
        """Return the winning status; rows that lose sometimes have another one."""
        world, every = self.world, np.zeros_like(back) - 1
        if world.long_streaks:
            now = (
                account % (world.accounts // world.long_streaks) == world.accounts // world.long_streaks // 2
            )
            length = np.where(now, world.months, 0)
        else:
            now = self._share(account, every, 10) < AT_RISK_NOW
            chance = 1 - self._share(account, every, 11)
            length = 1 + np.floor(np.log(chance) / np.log(STREAK_GOES_ON)).astype(np.int64)
            # Some accounts were at risk in every month.
            length = np.where(self._share(account, every, 12) < 0.0005, world.longest, length)
            length = np.where(now, np.minimum(length, world.longest), 0)
        before = self._share(account, back, 13) < AT_RISK_BEFORE
        at_risk = (back < length) | (before & (back > length) & (back > 0))
        fine = np.where(self._share(account, back, 14) < 0.04, CHURNED, HEALTHY)
        status = np.where(at_risk, AT_RISK, fine)
        loses = self.has_duplicate(account, back) & ~again
        if world.long_streaks:
            return status.astype(np.int8)
        return np.where(
            loses & (self._share(account, back, 15) < OTHER_STATUS), (status + 1) % 3, status
        ).astype(np.int8)

    def _arr(self, account: Ints, back: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return ARR: log-normal around 50,000, lower in earlier years, sometimes unknown."""
        every = np.zeros_like(back) - 1
        radius = np.sqrt(-2 * np.log(1 - self._share(account, every, 16)))
        normal = radius * np.cos(2 * np.pi * self._share(account, every, 17))
        arr = 50_000 * np.exp(1.3 * normal) * 0.97 ** (back // 12)
        return np.round(arr / 10).astype(np.int64) * 10, self._share(account, every, 18) < 0.02

    def _updated(
        self, account: Ints, back: Ints, again: npt.NDArray[np.bool_], days: npt.NDArray[np.int32]
    ) -> tuple[Ints, npt.NDArray[np.bool_]]:
        within = (self._hash(account, back, 19) % np.uint64(20 * DAY_US)).astype(np.int64)
        later = (self._hash(account, back, 20) % np.uint64(5 * DAY_US)).astype(np.int64) + 1_000_000
        time = days.astype(np.int64) * DAY_US + within + np.where(again, later, 0)
        return time, (self._share(account, back, 21) < 0.0001) & ~again

    def _hash(self, account: Ints, back: Ints, salt: int) -> Hashes:
        """Mix with splitmix64, twice."""
        value = account.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        value += self._seed + np.uint64(salt * 0x1D8E4E27C47D124F % 2**64)
        value = _mix(value) + (back + 2).astype(np.uint64) * np.uint64(0xD1B54A32D192ED03)
        return _mix(value)

    def _share(self, account: Ints, back: Ints, salt: int) -> npt.NDArray[np.float64]:
        return (self._hash(account, back, salt) >> np.uint64(11)).astype(np.float64) / 2**53


def write_by_month(world: World, path: Path) -> None:
    """Write one file, oldest month first."""
    maker = Maker(world)
    parts = (maker.in_month(back) for back in reversed(range(world.months)))
    _write(maker, parts, path)


def write_monthly_files(world: World, folder: Path, files: int | None = None) -> None:
    """Write a folder with a file a month; or with `files`, which split the months evenly."""
    folder.mkdir(parents=True)
    maker = Maker(world)
    each = -(-(files or world.months) // world.months)
    for back in reversed(range(world.months)):
        account, backs, again = maker.in_month(back)
        for part in range(each):
            of_part = slice(part * len(account) // each, (part + 1) * len(account) // each)
            name = f"{month_back(back)}.parquet" if each == 1 else f"{month_back(back)}-{part:02}.parquet"
            _write(maker, iter([(account[of_part], backs[of_part], again[of_part])]), folder / name)


def write_by_account(world: World, path: Path, at_once: int = 10_000) -> None:
    """Write one file sorted by account, each account's months in order."""
    maker = Maker(world)

    def parts() -> Iterator[tuple[Ints, Ints, npt.NDArray[np.bool_]]]:
        for start in range(0, world.accounts, at_once):
            some: Ints = np.arange(start, min(start + at_once, world.accounts), dtype=np.int64)
            account: Ints = np.repeat(some, world.months)
            back = np.tile(np.arange(world.months, dtype=np.int64)[::-1], len(some))
            times = 1 + maker.has_duplicate(account, back)
            account, back = np.repeat(account, times), np.repeat(back, times)
            again = np.concatenate([[False], (account[1:] == account[:-1]) & (back[1:] == back[:-1])])
            yield account, back, again

    _write(maker, parts(), path)


def write_shuffled(world: World, path: Path) -> None:
    """Write one file in no order."""
    maker = Maker(world)
    parts = [maker.in_month(back) for back in range(world.months)]
    account = np.concatenate([part[0].astype(np.int32) for part in parts])
    back = np.concatenate([part[1].astype(np.int16) for part in parts])
    again = np.concatenate([part[2] for part in parts])
    order = np.random.default_rng(SEED).permutation(len(account)).astype(np.int32)

    def some() -> Iterator[tuple[Ints, Ints, npt.NDArray[np.bool_]]]:
        for start in range(0, len(order), ROW_GROUP):
            these = order[start : start + ROW_GROUP]
            yield account[these].astype(np.int64), back[these].astype(np.int64), again[these]

    _write(maker, some(), path)


def _write(maker: Maker, parts: Iterator[tuple[Ints, Ints, npt.NDArray[np.bool_]]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        count = 0
        for part in parts:
            rows = maker.rows(*part)
            while count + rows.num_rows >= ROW_GROUP:
                fits = ROW_GROUP - count
                waiting.append(rows.slice(0, fits))
                writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=ROW_GROUP)
                rows, waiting, count = rows.slice(fits), [], 0
            waiting.append(rows)
            count += rows.num_rows
        if count:
            writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=ROW_GROUP)


def _pick(values: pa.Array, hashes: Hashes) -> pa.Array:
    return values.take(pa.array((hashes % np.uint64(len(values))).astype(np.int64)))


def _mix(value: Hashes) -> Hashes:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
