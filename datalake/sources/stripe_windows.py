"""Stripe's lists read by time of creation, from several places at once. The feed lives in `stripe_feed`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

import msgspec

from datalake.model import Table
from datalake.sources.base import Ask, Checkpoint, Item, Page, Permanent
from datalake.sources.http import Answer
from datalake.sources.paging import Walk
from datalake.sources.records import Record, digest, pick, split
from datalake.sources.stripe_run import DAY, StripeRun, ended, get

LOOKBACK = {"balance_transactions": (35 * DAY, DAY), "reporting_report_runs": (7 * DAY, DAY)}
"""Seconds back that an append-only table is read again, and the stretch that is compared as one. Balance transactions go
from pending to available up to weeks later, a report is ready minutes or hours later, and no list of changes tells."""
LOOKBACK_ELSEWHERE = (3_600, 3_600)

CHAINS = 12
"""Most places of one table that a load reads from at once."""
PAGES_WORTH_A_CHAIN = 4
"""A part of a walk that is cut seems to hold at least this many pages."""

STANDING = frozenset(
    {"coupons", "customers", "issuing_cardholders", "issuing_cards", "plans", "prices", "products", "promotion_codes"}
    | {"subscription_schedules", "subscriptions", "tax_rates"}
)
"""Tables that STRIPE_SINCE leaves whole: later facts refer to old rows of theirs."""


def created_window(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """Rows that are only ever added. The last stretch is read again; what came late or changed in it is told.

    `digests` in the cursor are fingerprints of the rows of that stretch, by day (or hour) of creation.
    """
    if ask.window:
        yield from window(run, ask)
        return
    lookback, bucket = LOOKBACK.get(ask.table.name, LOOKBACK_ELSEWHERE)
    through, known = ask.cursor.get("through"), ask.cursor.get("digests", {})
    state = ask.cursor.get("load") or {"until": run.horizon, "done": [], "digests": {}}
    if ask.table.name == "events" and through and through < run.horizon - 30 * DAY:
        day = dt.datetime.fromtimestamp(through, dt.UTC)
        ask.note(f"the last sync was on {day:%Y-%m-%d}; Stripe keeps events for 30 days, those between are lost")
    until, digests = state["until"], state["digests"]
    oldest = (until - lookback) // bucket
    for item in load(run, ask, start_of(run, ask) if through is None else through, until, state):
        if isinstance(item, Page):
            for created, record in _dated(ask.table, item.records):
                if created // bucket < oldest:
                    break  # a page goes from newer to older
                _count(digests, created // bucket, record)
            yield item
        else:
            yield Checkpoint({"through": through, "digests": known, "load": state} if through else {"load": state})
    if through is not None:
        start = (through - lookback) // bucket * bucket
        yield from _again(run, ask, max(start, start_of(run, ask)), through, bucket, known, digests)
    yield Checkpoint({"through": until, "digests": {key: value for key, value in digests.items() if int(key) >= oldest}})


def start_of(run: StripeRun, ask: Ask) -> int:
    """From where on the table is loaded: STRIPE_SINCE, unless it is one of STANDING."""
    return 0 if ask.table.name in STANDING else run.since


def window(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """The rows created in the window that is asked for."""
    assert ask.window is not None
    yield from load(run, ask, int(ask.window.since.timestamp()), int(ask.window.until.timestamp()), {"done": []})


@dataclasses.dataclass
class _Chain:
    """One walk from newer to older through a stretch of time: `low` inclusive, `high` exclusive, `after` the last row read."""

    low: int
    high: int
    after: str = ""
    walk: Walk = dataclasses.field(default_factory=Walk)
    restarts: int = 0


def load(run: StripeRun, ask: Ask, start: int, end: int, state: dict[str, Any]) -> Iterator[Page | Checkpoint]:
    """Rows created in [start, end), newest first, from several places at once.

    `state["done"]` holds the stretches that are closed, is kept up to date, and lets a later run go on from there. A walk
    is sequential (the next page is named by the last row), so what remains of a long one is cut by time into as many
    walks as there is room for. Each page closes the stretch that it covers.
    """
    waiting = deque(_Chain(low, high) for low, high in _gaps(start, end, state["done"]))
    flying: dict[Future[_Listed], _Chain] = {}
    floor = max(start, run.beginning)
    try:
        while waiting or flying:
            while waiting and len(flying) < CHAINS:
                chain = waiting.popleft()
                flying[run.workers.submit(lambda chain: _list_page(run, ask.table, chain), chain)] = chain
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                chain, page = flying.pop(future), future.result()
                if page.cursor_gone:
                    # The row to start after was deleted meanwhile: start again at its second.
                    chain.restarts += 1
                    if chain.restarts > 3:
                        raise page.answer.fault("the row to start after is gone, three times running; run again")
                    chain.after, chain.walk = "", Walk()
                    waiting.append(chain)
                    continue
                yield Page(page.records, page.answer.at)
                if not page.has_more:
                    _close(state["done"], chain.low, chain.high)
                else:
                    _close(state["done"], page.oldest + 1, chain.high)
                    chain.high, chain.after, chain.restarts = page.oldest + 1, page.last_id, 0
                    waiting.append(chain)
                    waiting += _cut(chain, page, floor, CHAINS - len(flying) - len(waiting))
                yield Checkpoint({"load": state})
    finally:
        for future in flying:
            future.cancel()


@dataclasses.dataclass(frozen=True)
class _Listed:
    answer: Answer
    records: Sequence[Record] = ()
    has_more: bool = False
    newest: int = 0
    oldest: int = 0
    last_id: str = ""
    cursor_gone: bool = False


def _list_page(run: StripeRun, table: Table, chain: _Chain) -> _Listed:
    params = [*table.params, ("created[gte]", str(chain.low)), ("created[lt]", str(chain.high))]
    if chain.after:
        params.append(("starting_after", chain.after))
    answer = get(run, table, table.path, f"GET {table.path}", params, cursor=chain.after, gone=(400,))
    if answer.status == 400:
        return _Listed(answer, cursor_gone=True)
    page = split(answer, "data", ["has_more"])
    ended(answer, page)
    if not page.records:
        chain.walk.step(answer, page.records)
        return _Listed(answer)
    newest, oldest = _created(table, page.records[0]), _created(table, page.records[-1])
    (last_id,) = pick(page.records[-1], "id")
    chain.walk.step(answer, page.records, last_id if page.facts["has_more"] else None)
    if not (chain.low <= oldest <= newest < chain.high):
        raise answer.fault(f"rows from {oldest} to {newest} came where {chain.low} to {chain.high} was asked for")
    return _Listed(answer, page.records, bool(page.facts["has_more"]), newest, oldest, last_id)


def _cut(chain: _Chain, page: _Listed, floor: int, room: int) -> list[_Chain]:
    """Cut what remains of a walk into equal times, by how much time its last page covered; the walk keeps the newest."""
    low = max(chain.low, floor)
    remaining, covered = page.oldest - low, page.newest - page.oldest + 1
    parts = min(room + 1, remaining // (PAGES_WORTH_A_CHAIN * covered))
    if parts < 2:
        return []
    edges = [chain.low, *(low + remaining * part // parts for part in range(1, parts))]
    chain.low = edges[-1]
    return [_Chain(start, end) for start, end in itertools.pairwise(edges)][::-1]


def _gaps(start: int, end: int, done: Iterable[Sequence[int]]) -> list[tuple[int, int]]:
    """The stretches of [start, end) that are not done.

    >>> _gaps(0, 100, [[10, 20], [50, 100]])
    [(20, 50), (0, 10)]
    """
    gaps = []
    for low, high in sorted(done, key=lambda stretch: stretch[0]):
        if start < low:
            gaps.append((start, min(low, end)))
        start = max(start, high)
    if start < end:
        gaps.append((start, end))
    return gaps[::-1]


def _close(done: list[list[int]], low: int, high: int) -> None:
    """Add a stretch, joined with those that it touches.

    >>> done = [[0, 10], [20, 30]]
    >>> _close(done, 10, 15); done
    [[0, 15], [20, 30]]
    """
    joined: list[list[int]] = []
    for stretch in sorted([*done, [low, high]], key=lambda stretch: stretch[0]):
        if joined and stretch[0] <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], stretch[1])
        else:
            joined.append(list(stretch))
    done[:] = joined


def _again(
    run: StripeRun, ask: Ask, start: int, end: int, bucket: int, known: dict[str, str], digests: dict[str, str]
) -> Iterator[Page]:
    """Read a stretch again and tell the rows of those parts of it whose fingerprint changed. It waits on disk for that."""
    found: dict[str, str] = {}
    with tempfile.SpooledTemporaryFile(max_size=16 * 1024 * 1024) as file:
        for page in load(run, ask, start, end, {"done": []}):
            if isinstance(page, Page):
                for created, record in _dated(ask.table, page.records):
                    key = _count(found, created // bucket, record)
                    length = memoryview(record).nbytes
                    file.write(msgspec.json.encode([key, page.at, length]) + b"\n" + bytes(record))
        file.seek(0)
        while head := file.readline():
            key, at, length = msgspec.json.decode(head)
            record = file.read(length)
            if found[key] != known.get(key):
                yield Page([record], at)
    for key, value in found.items():
        digests[key] = _sum(value, digests.get(key, ""))


def _count(digests: dict[str, str], bucket: int, record: Record) -> str:
    """Add a record to its bucket's fingerprint; returns the bucket's key."""
    key = str(bucket)
    digests[key] = digest([record], digests.get(key, ""))
    return key


def _sum(one: str, other: str) -> str:
    return f"{(int(one or '0', 16) + int(other or '0', 16)) % 2**256:064x}"


def _dated(table: Table, records: Iterable[Record]) -> Iterator[tuple[int, Record]]:
    for record in records:
        yield _created(table, record), record


def _created(table: Table, record: Record) -> int:
    """When a row was created. Its field may have another name, the filter is called `created` everywhere."""
    (created,) = pick(record, table.cursor or "created")
    if not isinstance(created, int):
        raise Permanent(f"{table.id}: a row came without a number in '{table.cursor}': {bytes(record)[:200]!r}")
    return created
