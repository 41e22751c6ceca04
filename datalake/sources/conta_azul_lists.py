"""How Conta Azul's lists are walked: page sizes, envelopes, filters that are checked on what comes back, windows cut in two.

Conta Azul ignores a parameter that it does not know and answers everything with 200, so a filter counts only where the rows
prove that it was heard. What is read when, and what it is for, lives in `conta_azul.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from datalake.model import Table
from datalake.sources.base import Permanent
from datalake.sources.http import Answer
from datalake.sources.paging import Walk
from datalake.sources.records import Record, inner, pick, split

ZONE = dt.timezone(dt.timedelta(hours=-3))
"""Conta Azul's time: naive texts are GMT-3, without summer time."""
MOST_ROWS = 5_000
"""A window that holds more rows is read in halves: pages far down a list that changes meanwhile lose rows."""
INVENTED_TOTALS = frozenset({"notas_fiscais", "orcamentos"})
"""Lists whose total is known to lie (the first counts too many, the second too few): only an empty page ends them."""

Get = Callable[..., Answer]
"""`get(table, path, params, cursor=…, gone=…)` of a run."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A pair of parameters that asks for a stretch of time, both ends inclusive.

    `field` is the record's own field that must lie in it; empty where the records do not show what was filtered.
    """

    low: str
    high: str
    field: str
    days: bool
    """Plain days (`2026-11-22`); else moments (`2026-11-22T10:00:00`), both in GMT-3."""
    longest: dt.timedelta = dt.timedelta(days=365)
    """The longest stretch that one call may ask for."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time of one filter; `low` and `high` (inclusive) in GMT-3, midnights where the filter takes days."""

    filter: Filter
    low: dt.datetime
    high: dt.datetime

    def params(self) -> dict[str, str]:
        return {self.filter.low: self._text(self.low), self.filter.high: self._text(self.high)}

    def holds(self, value: object) -> bool:
        """Whether a record with this value may come back. A `Z` may be meant or mere form (GMT-3): both readings are taken."""
        if not isinstance(value, str) or not value:
            return False
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            return False
        high = self.high + dt.timedelta(days=1) if self.filter.days and "T" in value else self.high
        slack = dt.timedelta(seconds=1) if "T" in value else dt.timedelta(0)
        readings = [moment.replace(tzinfo=ZONE), *([moment] if moment.tzinfo else [])]
        return any(self.low - slack <= reading <= high + slack for reading in readings)

    def halves(self) -> tuple[Stretch, ...]:
        """The two halves, or nothing where it cannot be cut further."""
        step = dt.timedelta(days=1) if self.filter.days else dt.timedelta(seconds=1)
        if self.high - self.low < (step if self.filter.days else 2 * step):
            return ()
        middle = self.low + (self.high - self.low) // step // 2 * step
        # Rows have fractions of a second, so moments share the middle; a row that comes twice is the same row.
        return Stretch(self.filter, self.low, middle), Stretch(self.filter, middle + step * self.filter.days, self.high)

    def pieces(self) -> Iterator[Stretch]:
        """The stretch cut so that each piece may be asked for, oldest first."""
        low = self.low
        while True:
            if self.filter.days:
                high = min(self.high, low + self.filter.longest - dt.timedelta(days=1))
                following = high + dt.timedelta(days=1)
            else:
                high = following = min(self.high, low + self.filter.longest)
            yield Stretch(self.filter, low, high)
            if high >= self.high:
                return
            low = following

    def _text(self, moment: dt.datetime) -> str:
        return moment.strftime("%Y-%m-%d" if self.filter.days else "%Y-%m-%dT%H:%M:%S")


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of a list. `total` is what Conta Azul says the whole list holds, None where it does not say."""

    answer: Answer
    records: list[Record]
    total: int | None
    stretch: Stretch | None


def walk(
    get: Get, table: Table, stretch: Stretch | None = None, path: str = "", gone: tuple[int, ...] = ()
) -> Iterator[Listed]:
    """The pages of a list, at least one; a list that is gone (a status in `gone`) is one page with that answer.

    Lists whose contract fixes no page size come in one answer.
    """
    params: dict[str, Any] = dict(table.params) | (stretch.params() if stretch else {})
    size = int(params.get("tamanho_pagina", 0))
    watch, count, number = Walk(), 0, 1
    while True:
        cursor = f"page {number}" if size else ""
        answer = get(table, path or table.path, {**params, "pagina": number} if size else params, cursor=cursor, gone=gone)
        if answer.status in gone:
            yield Listed(answer, [], 0, stretch)
            return
        records, total = _records(answer, table.records)
        count += len(records)
        _check(answer, records, size, stretch)
        trusted = table.name not in INVENTED_TOTALS and count == total
        last = not size or not records or (len(records) < size and trusted)
        watch.step(answer, records, None if last else f"page {number + 1}")
        yield Listed(answer, records, total, stretch)
        if last:
            return
        number += 1


def cut(get: Get, table: Table, stretch: Stretch) -> Iterator[Listed]:
    """As `walk`, in halves (and halves of those) as long as a window holds more than MOST_ROWS."""
    pages = walk(get, table, stretch)
    first = next(pages)
    halves = stretch.halves() if (first.total or 0) > MOST_ROWS else ()
    for half in halves:
        yield from cut(get, table, half)
    if not halves:
        yield first
        yield from pages


def identity(table: Table, record: Record) -> tuple[Any, ...]:
    """The key of a record, as far as the record itself holds it."""
    return pick(record, *(column.field[0] for column in table.columns if column.name in table.key and not column.from_request))


def _check(answer: Answer, records: list[Record], size: int, stretch: Stretch | None) -> None:
    """Raise where the rows show that a parameter was not heard."""
    if size and len(records) > size:
        raise answer.fault(f"{len(records)} rows came where tamanho_pagina={size} was asked for: the parameter was ignored")
    if stretch is None or not stretch.filter.field:
        return
    for record in records:
        (value,) = pick(record, stretch.filter.field)
        if not stretch.holds(value):
            asked = " to ".join(stretch.params().values())
            raise answer.fault(
                f"a row with {stretch.filter.field} {value!r} came where {asked} was asked for: Conta Azul ignored "
                f"{stretch.filter.low}, so nothing of this answer is kept; the parameter may have got another name"
            )


class _Paging(msgspec.Struct):
    total_itens: int | None = None


class _Envelope(msgspec.Struct, rename={"total_english": "totalItems", "total_snake": "total_items"}):
    """All the ways in which lists come."""

    itens: Raw | UnsetType = UNSET
    items: Raw | UnsetType = UNSET
    itens_totais: int | None = None
    total_itens: int | None = None
    total_english: int | None = None
    total_snake: int | None = None
    paginacao: _Paging | None = None

    @property
    def total(self) -> int | None:
        named = (self.itens_totais, self.total_itens, self.total_english, self.total_snake)
        told = [*named, self.paginacao.total_itens if self.paginacao else None]
        return next((total for total in told if total is not None), None)


def _records(answer: Answer, path: str) -> tuple[list[Record], int | None]:
    """The records of a page and the total that it tells. Documents and server disagree on `itens` and `items`: both are taken.

    People without a match come as `items: null`.
    """
    if path not in ("itens", "items"):
        return split(answer, path).records, None
    try:
        envelope = msgspec.json.decode(answer.body, type=_Envelope)
    except msgspec.DecodeError:
        return split(answer, path).records, None  # tells what is wrong with it
    for name in (path, "items" if path == "itens" else "itens"):
        found: Raw | UnsetType = getattr(envelope, name)
        if found is not UNSET:
            return [] if bytes(found) == b"null" else split(answer, name).records, envelope.total
    return split(answer, path).records, None


def dig(record: Record, path: str) -> Record | None:
    """The value at a dotted path inside a record, as received; None where there is none."""
    found: Record | None = record
    for step in path.split("."):
        if found is None or bytes(memoryview(found)[:1]) != b"{":
            return None
        found = inner(found, step)
    return found


def day_of(moment: dt.datetime) -> dt.datetime:
    """Midnight of the day in GMT-3."""
    return moment.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)


def utc(moment: dt.datetime) -> str:
    """
    >>> utc(dt.datetime(2026, 11, 22, 23, 30, tzinfo=ZONE))
    '2026-11-23T02:30:00Z'
    """
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(value: object) -> str:
    """A record's time as UTC text that compares; empty where there is none. Raises Permanent for what is no time."""
    if not value:
        return ""
    try:
        moment = dt.datetime.fromisoformat(str(value))
    except ValueError:
        raise Permanent(f"conta_azul: a row came with the time {value!r}, which is none") from None
    return utc(moment if moment.tzinfo else moment.replace(tzinfo=ZONE))
