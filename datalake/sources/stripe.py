"""How Stripe is asked: first loads by windows of creation, then its change feed. Shapes of tables live in the contracts.

Stripe knows no "changed since". What is append-only is read by `created`. All else is loaded once by `created`; from then on
the events tell which objects changed, and each of those is read again by its id: an event's own copy has another API version
and nothing expanded. Events are kept for 30 days, so a state older than 28 days means a full read, told loudly.
Blind spots that no event covers are named where they are closed (`invoice_items`, `balance_transactions`) and in the notes of
the contracts where they stay open (metadata of payment intents, discounts of single lines).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
import itertools
import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any
from urllib.parse import quote

import msgspec

from datalake.lake.raw import RawLog
from datalake.lake.raw import now as utc_now
from datalake.model import Column, Source, Table
from datalake.settings import SettingError, Settings
from datalake.sources.auth import Bearer
from datalake.sources.base import Ask, AuthenticationFailed, Checkpoint, Complete, Deleted, Item, Page, Permanent, Skipped
from datalake.sources.budget import Budget, Limit
from datalake.sources.engine import HttpRun
from datalake.sources.http import Answer, Http, Verdict
from datalake.sources.paging import ParentRow, Walk, by_commit
from datalake.sources.paging import full_list as told_if_changed
from datalake.sources.progress import Progress
from datalake.sources.records import Record, Split, digest, elements, inner, pick, single, split

VERSION = "2026-10-28.endive"
"""The API version that the contracts describe."""

DAY = 86_400
LAG = 10
"""A window ends this many seconds before the present: objects of the last seconds may not be in the lists yet."""
OVERLAP = 600
"""Seconds of the feed that are read again: events do not come in the order of their time."""
FEED_REACH = 28 * DAY
"""Stripe keeps events for 30 days. A state older than this is not trusted to them any more."""
LOOKBACK = {"balance_transactions": (35 * DAY, DAY)}
"""Seconds back that an append-only table is read again, and the stretch that is compared as one. Balance transactions go
from pending to available up to weeks later, and no event tells."""
LOOKBACK_ELSEWHERE = (3_600, 3_600)

CHAINS = 12
"""Most places of one table that a load reads from at once."""
PAGES_WORTH_A_CHAIN = 4
"""A part of a walk that is cut seems to hold at least this many pages."""
CHUNK = 256
"""Objects read again between two checkpoints."""

STANDING = frozenset({"coupons", "customers", "prices", "products", "promotion_codes", "subscriptions"})
"""Tables that STRIPE_SINCE leaves whole: later facts refer to old rows of theirs."""
TOLD_BY_THEIR = {"invoice_payments": "invoice"}
"""Tables that follow events about another kind of object: all rows of that object are then listed again."""
WANTED_PARENTS = {"payout_balance_transactions": "automatic"}
"""Fan-outs that only some parents answer, and the parent's field that says so (a manual payout answers 400)."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """What the feed says, without its copy of the object, unless that is the last one there will be."""

    id: str
    type: str
    created: int
    object: str
    """Kind of the object that changed."""
    object_id: str
    last: bytes | None
    """The object as it was when it was deleted."""


class StripeRun(HttpRun):
    """One run of one account: the horizon up to which it reads, and the feed that its tables share."""

    def __init__(self, source: Source, http: Http, since: int) -> None:
        functions: dict[str, Callable[[Any, Ask], Iterator[Item]]] = {
            "children_of_changed": children_of_changed,
            "created_window": created_window,
            "discounts": discounts,
            "embedded_then_children": embedded_then_children,
            "from_parent": from_parent,
            "full_list": full_list,
            "invoice_items": invoice_items,
            "objects_then_events": objects_then_events,
            "single_object": single_object,
        }
        super().__init__(source, http, functions)
        self.since = since
        self._account_lock = threading.Lock()
        self._feed_lock = threading.Lock()
        self._account: Answer | None = None
        self._events: list[Event] = []
        self._events_from: int | None = None

    def account(self) -> Answer:
        """The account's answer, asked once: its `Date` is the clock of the run. A key may lack the permission (403)."""
        with self._account_lock:
            if self._account is None:
                self._account = self.http.get("stripe.account", "/v1/account", operation="GET /v1/account", accept=(403,))
            return self._account

    @property
    def horizon(self) -> int:
        """The run reads what was created before this moment of Stripe's clock."""
        date = email.utils.parsedate_tz(self.account().headers.get("Date", ""))
        return int(email.utils.mktime_tz(date) if date else time.time()) - LAG

    @property
    def beginning(self) -> int:
        """No object is older than the account; where the key may not read it, than Stripe."""
        answer = self.account()
        created = pick(single(answer), "created")[0] if answer.status == 200 else None
        return int(created) if created else 1_293_840_000

    def events(self, since: int, ask: Ask) -> list[Event]:
        """Events from `since` to the horizon. One pass serves all tables: what was read for one is not read again."""
        horizon = self.horizon
        with self._feed_lock:
            start = horizon if self._events_from is None else self._events_from
            if since < start:
                found = {}
                feed = dataclasses.replace(ask, table=self.source.tables["events"])
                for page in _load(self, feed, since, start, {"done": []}):
                    for record in page.records if isinstance(page, Page) else ():
                        event = _event(record)
                        found[event.id] = event
                self._events += found.values()
                self._events_from = since
            return [event for event in self._events if event.created >= since]


def open_run(settings: Settings, source: Source, progress: Progress) -> StripeRun:
    """A run with the key of STRIPE_API_KEY. Raises SettingError for a missing key, and for one that cannot read."""
    key = settings.require("STRIPE_API_KEY").strip()
    if key.startswith("pk_"):
        raise SettingError("STRIPE_API_KEY is a publishable key (pk_…), which can read nothing. Use a restricted key (rk_…).")
    if key.startswith("sk_"):
        progress.note("stripe", "STRIPE_API_KEY is a secret key (sk_…) that can also write; a restricted key (rk_…) is safer")
    base_url, moved = settings.base_url("stripe", source.base_url)
    headers = {"Stripe-Version": VERSION}
    if account := settings["STRIPE_ACCOUNT"]:
        headers["Stripe-Account"] = account
    # Stripe allows 25 calls a second and operation, 100 in all (25 with test keys). The rest is left to the business itself.
    total = 60 if "_live_" in key else 20
    budget = Budget(
        [Limit(total, 1.0)],
        each_operation=Limit(20, 1.0),
        waiting=lambda seconds, why: progress.waiting("stripe", seconds, why),
    )
    http = Http(
        "stripe",
        base_url,
        moved=moved,
        auth=Bearer(key),
        budget=budget,
        secrets=settings.secrets(),
        headers=headers,
        classify=_classify,
        note=progress.note,
    )
    return StripeRun(source, http, _since(settings))


def identify(run: StripeRun) -> str:
    """The account that the key reads, and the core tables that it may not read. Raises AuthenticationFailed."""
    answer = run.account()
    name = pick(single(answer), "id")[0] if answer.status == 200 else "unknown to this key"

    def refused(table: Table) -> str:
        try:
            _get(run, table, table.path, f"GET {table.path}", [("limit", "1")])
        except Skipped:
            return table.name
        return ""

    lists = [table for table in run.source.tables.values() if table.core and table.cursor]
    missing = [*(["account"] if answer.status == 403 else []), *filter(None, run.workers.each(lists, refused))]
    return f"account {name}" + (f"; the key may not read {', '.join(missing)}" if missing else ", all core tables can be read")


def _since(settings: Settings) -> int:
    text = settings["STRIPE_SINCE"]
    if not text:
        return 0
    try:
        return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())
    except ValueError:
        raise SettingError(f"STRIPE_SINCE is '{text}': write the first day to load as YYYY-MM-DD") from None


def _classify(answer: Answer) -> Verdict | None:
    """Stripe's own rules: it can say itself whether to come again, and 409 and 424 pass by themselves."""
    if answer.status == 403:
        return Verdict.REFUSED
    if answer.status in (409, 424) or answer.status >= 500:
        again = answer.headers.get("Stripe-Should-Retry", "true") != "false"
        return Verdict.RETRY if again else Verdict.FAILED
    return None


# Functions that the contracts name in `rows:`


def single_object(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """An object without a list, told when it changed."""
    known_account = ask.table.path == "/v1/account" and run.account().status == 200
    answer = run.account() if known_account else _get(run, ask.table, ask.table.path, f"GET {ask.table.path}")
    record = single(answer)
    found = digest([record])
    if found != ask.cursor.get("digest"):
        yield Page([record], answer.at)
        yield Checkpoint({"digest": found})


def full_list(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """A small list without dates, read whole and told when it changed."""
    pages = _pages(run, ask.table, ask.table.path, f"GET {ask.table.path}", _params(ask.table))
    first = next(pages)
    found = yield from told_if_changed(itertools.chain([first], pages), ask.cursor.get("digest"), {}, first.at)
    yield Checkpoint({"digest": found})


def created_window(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """Rows that are only ever added. The last stretch is read again; what came late or changed in it is told.

    `digests` in the cursor are fingerprints of the rows of that stretch, by day (or hour) of creation.
    """
    if ask.window:
        yield from _window(run, ask)
        return
    lookback, bucket = LOOKBACK.get(ask.table.name, LOOKBACK_ELSEWHERE)
    through, known = ask.cursor.get("through"), ask.cursor.get("digests", {})
    state = ask.cursor.get("load") or {"until": run.horizon, "done": [], "digests": {}}
    if ask.table.name == "events" and through and through < run.horizon - 30 * DAY:
        day = dt.datetime.fromtimestamp(through, dt.UTC)
        ask.note(f"the last sync was on {day:%Y-%m-%d}; Stripe keeps events for 30 days, those between are lost")
    until, digests = state["until"], state["digests"]
    oldest = (until - lookback) // bucket
    for item in _load(run, ask, _start(run, ask) if through is None else through, until, state):
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
        yield from _again(run, ask, max(start, _start(run, ask)), through, bucket, known, digests)
    yield Checkpoint({"through": until, "digests": {key: value for key, value in digests.items() if int(key) >= oldest}})


def objects_then_events(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """All objects by their creation at first; from then on those that the events name, each read again by its id."""
    yield from _objects_then_events(run, ask, {})


def invoice_items(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """As `objects_then_events`; and, because no event tells of their changes, pending items and those of changed invoices."""
    if ask.window:
        yield from _window(run, ask)
        return
    follows = "through" in ask.cursor
    # A load that begins now sees every item as the invoices read so far left it.
    head = ask.parent.head() if ask.parent else None
    sequence = ask.cursor.get("parent_sequence", head.sequence if head else 0)
    cursor = {"parent_sequence": sequence, "pending": ask.cursor.get("pending", "")}
    read: set[str] = set()
    for item in _objects_then_events(run, ask, cursor):
        if isinstance(item, Checkpoint):
            follows, cursor = follows and "through" in item.cursor, item.cursor
        elif isinstance(item, Page) and follows:
            read.update(pick(record, "id")[0] for record in item.records)
        yield item
    ask = dataclasses.replace(ask, cursor=cursor)
    if follows:
        for commit, rows in by_commit(ask, "id", "lines"):
            for batch in _batches(rows, CHUNK):
                yield from _items_of_invoices(run, ask.table, batch, read)
            cursor = {**cursor, "parent_sequence": commit.sequence}
            yield Checkpoint(cursor)
    pages = list(_pages(run, ask.table, ask.table.path, "GET /v1/invoiceitems", [*_params(ask.table), ("pending", "true")]))
    pending = digest(record for page in pages for record in page.records)
    if pending != cursor["pending"]:
        yield from pages
        yield Checkpoint({**cursor, "pending": pending})


def discounts(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """Discounts as the tables that carry them show them; the feed tells which ones ended."""
    sequences: dict[str, int] = dict(ask.cursor.get("sequences", {}))
    feed: dict[str, Any] = {name: ask.cursor[name] for name in ("through", "seen") if name in ask.cursor}
    assert ask.parent is not None
    for name in (ask.table.parent, *ask.table.also):
        assert name is not None
        log = RawLog(ask.parent.objects, run.source.tables[name])
        one = dataclasses.replace(ask, parent=log, cursor={"parent_sequence": sequences.get(name, 0)})
        for commit, rows in by_commit(one, "id"):
            for row in rows:
                yield from () if row.deleted else _discounts_in(row, from_invoice=name == "invoices")
            sequences[name] = commit.sequence
            yield Checkpoint({"sequences": dict(sequences), **feed})
    horizon, through, seen = run.horizon, feed.get("through"), set(feed.get("seen", ()))
    if ask.window:
        return
    if through is not None and through < horizon - FEED_REACH:
        ask.note("the last sync is over 28 days ago: discounts that ended since are known only where an invoice shows it")
    found = [event for event in run.events((through or horizon) - OVERLAP, ask) if event.type == "customer.discount.deleted"]
    for event in found:
        if through is not None and event.id not in seen and event.last is not None:
            yield Deleted(event.last, utc_now())
    yield Checkpoint({"sequences": sequences, **_feed_state(found, horizon)})


def from_parent(run: StripeRun, ask: Ask) -> Iterator[Item]:  # noqa: ARG001 - the engine calls all alike
    """Elements of a list inside the parent's records."""
    owner, facts = _owner(ask.table), [column.field[0] for column in ask.table.columns if column.from_request]
    index = next((fact for fact in facts if fact.endswith("_index")), "")
    if unknown := set(facts) - {owner.field[0], index}:
        raise Permanent(f"{ask.table.id}: nothing gives {', '.join(sorted(unknown))} yet; leave the table out")
    for commit, rows in by_commit(ask, "id"):
        for row in rows:
            for number, record in enumerate(() if row.deleted else _inside(row.record, ask.table.records)):
                add = {owner.field[0]: row.fields[0], **({index: number} if index else {})}
                yield Page([record], row.at, {fact: add[fact] for fact in facts})
        yield Checkpoint({"parent_sequence": commit.sequence})


def embedded_then_children(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """Rows from the lists inside changed parents; their own path is asked only where the list inside is cut short."""
    for batch in _changed_parents(ask):
        if isinstance(batch, Checkpoint):
            yield batch
            continue
        cut_short = []
        for row in batch:
            records, has_more = ((), False) if row.deleted else _list_inside(row.record, ask.table.records)
            if has_more:
                cut_short.append(row)
            else:
                yield from _children(ask.table, row.fields[0], [Page(records, row.at)], row.at)
        for items in run.workers.each(_distinct(cut_short), lambda id_: _read_children(run, ask.table, id_)):
            yield from items


def children_of_changed(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """Rows of every parent that changed, from their own path."""
    wanted = WANTED_PARENTS.get(ask.table.name)
    for batch in _changed_parents(ask, *([wanted] if wanted else [])):
        if isinstance(batch, Checkpoint):
            yield batch
            continue
        alive = [row for row in batch if not row.deleted and (not wanted or row.fields[1])]
        for row in batch:
            if row.deleted:
                yield from _children(ask.table, row.fields[0], [], row.at)
        for items in run.workers.each(_distinct(alive), lambda id_: _read_children(run, ask.table, id_)):
            yield from items


# Loads by creation


def _start(run: StripeRun, ask: Ask) -> int:
    return 0 if ask.table.name in STANDING else run.since


def _window(run: StripeRun, ask: Ask) -> Iterator[Item]:
    assert ask.window is not None
    yield from _load(run, ask, int(ask.window.since.timestamp()), int(ask.window.until.timestamp()), {"done": []})


@dataclasses.dataclass
class _Chain:
    """One walk from newer to older through a stretch of time: `low` inclusive, `high` exclusive, `after` the last row read."""

    low: int
    high: int
    after: str = ""
    walk: Walk = dataclasses.field(default_factory=Walk)
    restarts: int = 0


def _load(run: StripeRun, ask: Ask, start: int, end: int, state: dict[str, Any]) -> Iterator[Page | Checkpoint]:
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
    params = [*_params(table), ("created[gte]", str(chain.low)), ("created[lt]", str(chain.high))]
    if chain.after:
        params.append(("starting_after", chain.after))
    answer = _get(run, table, table.path, f"GET {table.path}", params, cursor=chain.after, gone=(400,))
    if answer.status == 400:
        return _Listed(answer, cursor_gone=True)
    page = split(answer, "data", ["has_more"])
    if not page.records:
        _ended(answer, page)
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
        for page in _load(run, ask, start, end, {"done": []}):
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


def _ended(answer: Answer, page: Split) -> None:
    if page.facts["has_more"]:
        raise answer.fault("the answer says that there is more, and brings no row to go on from")


# The feed


def _event(record: Record) -> Event:
    id_, type_, created = pick(record, "id", "type", "created")
    data = inner(record, "data") or b"{}"
    about = inner(data, "object") or b"{}"
    object_, object_id = pick(about, "object", "id")
    return Event(id_, type_, created, object_ or "", object_id or "", bytes(about) if type_.endswith(".deleted") else None)


def _objects_then_events(run: StripeRun, ask: Ask, keep: dict[str, Any]) -> Iterator[Item]:
    """`keep` is the part of the cursor that is not this function's."""
    if ask.window:
        yield from _window(run, ask)
        return
    horizon, through, state = run.horizon, ask.cursor.get("through"), ask.cursor.get("load")
    if through is not None and through >= horizon - FEED_REACH:
        yield from _follow(run, ask, through, set(ask.cursor.get("seen", ())), keep)
        return
    if through is not None:
        day = dt.datetime.fromtimestamp(through, dt.UTC)
        ask.note(f"the last sync was on {day:%Y-%m-%d}, further back than Stripe's events reach: the whole table is read again")
    if state and state["until"] < horizon - FEED_REACH:
        ask.note("the first load was left unfinished more than 28 days ago: it starts again")
        state = None
    state = state or {"until": horizon, "done": [], "at": utc_now()}
    before = {"through": through} if through is not None else {}
    start = _start(run, ask)
    for item in _load(run, ask, start, state["until"], state):
        yield Checkpoint({**keep, **before, "load": state}) if isinstance(item, Checkpoint) else item
    if start == 0 and any(event.endswith(".deleted") for event in ask.table.events):
        yield Complete({}, state["at"])
    if state["until"] < horizon:
        yield from _follow(run, ask, state["until"], set(), keep)
    else:
        events = run.events(horizon - OVERLAP, ask)
        yield Checkpoint({**keep, **_feed_state([event for event in events if event.type in ask.table.events], horizon)})


def _feed_state(events: Iterable[Event], through: int) -> dict[str, Any]:
    """The feed is done up to `through`; the events in the overlap before it, which will come again, are known."""
    return {"through": through, "seen": sorted(event.id for event in events if event.created >= through - OVERLAP)}


def _follow(run: StripeRun, ask: Ask, through: int, seen: set[str], keep: dict[str, Any]) -> Iterator[Item]:
    """Read again what the events since `through` name, oldest first, with a checkpoint after each chunk."""
    events = [event for event in run.events(through - OVERLAP, ask) if event.type in ask.table.events]
    events.sort(key=lambda event: event.created)
    changed: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.id not in seen and event.object_id:
            changed[event.object_id].append(event)
    owner = TOLD_BY_THEIR.get(ask.table.name)
    handled = [event for event in events if event.id in seen]
    ids = list(changed)
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        for items in run.workers.each(chunk, lambda id_: _read_again(run, ask.table, id_, changed[id_], owner)):
            yield from items
        handled += [event for id_ in chunk for event in changed[id_]]
        if start + CHUNK < len(ids):
            reached = changed[ids[start + CHUNK]][0].created
            yield Checkpoint({**keep, **_feed_state(handled, max(through, reached))})
    yield Checkpoint({**keep, **_feed_state(events, run.horizon)})


def _read_again(run: StripeRun, table: Table, id_: str, events: Sequence[Event], owner: str | None) -> list[Item]:
    """The object that the events are about, as it is now."""
    if owner is not None and events[-1].object == owner:
        return list(_pages(run, table, table.path, f"GET {table.path}", [*_params(table), (owner, id_)]))
    last = next((event.last for event in reversed(events) if event.last is not None), None)
    return [_by_id(run, table, id_, last)]


def _by_id(run: StripeRun, table: Table, id_: str, last: bytes | None = None) -> Item:
    """One object. Where it is gone: `last`, its last known form, or at least its id."""
    expand = [(name, value.removeprefix("data.")) for name, value in table.params if name == "expand[]"]
    path = f"{table.path}/{quote(id_, safe='')}"
    answer = _get(run, table, path, f"GET {table.path}/:id", expand, cursor=id_, gone=(404,))
    if answer.status == 404:
        return Deleted(last or msgspec.json.encode({"id": id_}), answer.at)
    record = single(answer)
    return Deleted(last or bytes(record), answer.at) if pick(record, "deleted")[0] else Page([record], answer.at)


# Rows of other tables' rows


def _changed_parents(ask: Ask, *fields: str) -> Iterator[list[ParentRow] | Checkpoint]:
    """Lines of the parent's log, in batches, each followed by its checkpoint: a run that dies goes on inside a commit."""
    skip = ask.cursor.get("rows", 0)
    for commit, rows in by_commit(ask, "id", *fields):
        done = 0
        for batch in _batches(rows, CHUNK):
            done += len(batch)
            if done > skip:
                yield batch
                yield Checkpoint({"parent_sequence": commit.sequence - 1, "rows": done})
        skip = 0
        yield Checkpoint({"parent_sequence": commit.sequence})


def _owner(table: Table) -> Column:
    """The column that holds the parent's id."""
    for column in table.columns:
        if column.refers == (table.source, table.parent, "id"):
            return column
    raise Permanent(f"{table.id}: no column refers to {table.parent}.id; name it in the contract")


def _children(table: Table, parent_id: str, pages: Iterable[Page], at: str) -> list[Item]:
    """The pages as rows of one parent, and word that these are all it has."""
    owner = _owner(table)
    add = {owner.field[0]: parent_id} if owner.from_request else {}
    rows: list[Item] = [Page(page.records, page.at, add) for page in pages if page.records]
    return [*rows, Complete({owner.name: parent_id}, at)]


def _read_children(run: StripeRun, table: Table, parent_id: str) -> list[Item]:
    """All rows of one parent from their own path: `{…}` in it, or a parameter `{id}`, stands for the parent's id."""
    head, brace, tail = table.path.partition("{")
    path = f"{head}{quote(parent_id, safe='')}{tail.partition('}')[2]}" if brace else table.path
    params = [(name, parent_id if value == "{id}" else value) for name, value in _params(table)]
    pages = list(_pages(run, table, path, f"GET {table.path}", params, gone=(404,)))
    return _children(table, parent_id, pages, pages[0].at)


def _items_of_invoices(run: StripeRun, table: Table, invoices: Sequence[ParentRow], read: set[str]) -> Iterator[Item]:
    """The invoice items that stand behind the lines of changed invoices, as they are now. `read` are known already."""
    ids: set[str] = set()
    long = []
    for row in invoices:
        lines = row.fields[1]
        if row.deleted or not lines:
            continue
        if lines["has_more"]:
            long.append(row)
            continue
        for line in lines["data"]:
            details = [value for value in (line.get("parent") or {}).values() if isinstance(value, dict)]
            ids.update(each["invoice_item"] for each in details if each.get("invoice_item"))
    yield from run.workers.each(sorted(ids - read), lambda id_: _by_id(run, table, id_))
    read.update(ids)
    for pages in run.workers.each(
        _distinct(long),
        lambda id_: list(_pages(run, table, table.path, "GET /v1/invoiceitems", [*_params(table), ("invoice", id_)])),
    ):
        yield from pages


def _discounts_in(row: ParentRow, *, from_invoice: bool) -> Iterator[Item]:
    one, several = inner(row.record, "discount"), inner(row.record, "discounts")
    for record in [*([one] if one is not None else []), *(elements(several) if several is not None else [])]:
        if bytes(memoryview(record)[:1]) != b"{":
            continue  # a bare id, which brings nothing but its name
        deleted, start = pick(record, "deleted", "start")
        if deleted:
            yield Deleted(bytes(record), row.at)
        elif from_invoice:
            # An invoice goes on showing discounts that ended. Its copy counts as of the discount's start, so that
            # whatever the customer, the subscription or the feed told later wins.
            yield Page([record], f"{dt.datetime.fromtimestamp(start, dt.UTC):%Y-%m-%dT%H:%M:%S.%fZ}")
        else:
            yield Page([record], row.at)


def _list_inside(record: Record, field: str) -> tuple[list[Record], bool]:
    """The records of a list object inside a record, and whether there are more than it shows."""
    found = inner(record, field)
    data = inner(found, "data") if found is not None else None
    if found is None or data is None:
        return [], False
    return elements(data), bool(pick(found, "has_more")[0])


def _inside(record: Record, field: str) -> list[Record]:
    array = inner(record, field)
    return elements(array) if array is not None else []


def _distinct(rows: Iterable[ParentRow]) -> list[str]:
    return list(dict.fromkeys(row.fields[0] for row in rows))


def _batches(rows: Iterator[ParentRow], size: int) -> Iterator[list[ParentRow]]:
    while batch := list(itertools.islice(rows, size)):
        yield batch


# Calls


def _params(table: Table) -> list[tuple[str, str]]:
    return list(table.params)


def _pages(
    run: StripeRun, table: Table, path: str, operation: str, params: Sequence[tuple[str, str]], gone: tuple[int, ...] = ()
) -> Iterator[Page]:
    """All pages of a list, at least one. A list that is gone (a status in `gone`) is an empty page."""
    walk, after = Walk(), ""
    while True:
        asked = [*params, ("starting_after", after)] if after else params
        answer = _get(run, table, path, operation, asked, cursor=after, gone=gone)
        if answer.status in gone:
            yield Page([], answer.at)
            return
        page = split(answer, "data", ["has_more"])
        if not page.records:
            _ended(answer, page)
        more = bool(page.facts["has_more"])
        after = pick(page.records[-1], "id")[0] if more else ""
        walk.step(answer, page.records, after or None)
        yield Page(page.records, answer.at)
        if not more:
            return


class _Error(msgspec.Struct):
    message: str = ""
    code: str = ""
    param: str = ""


class _Refused(msgspec.Struct):
    error: _Error


def _get(
    run: StripeRun,
    table: Table,
    path: str,
    operation: str,
    params: Sequence[tuple[str, str]] = (),
    *,
    cursor: str = "",
    gone: tuple[int, ...] = (),
) -> Answer:
    """One call. Its answer is good, or says that the thing asked for is gone, if `gone` holds the status for that.

    Raises Skipped where the key lacks a permission or the product is off, in Stripe's words: they name the permission.
    """
    answer = run.http.get(table.id, path, params, cursor=cursor, operation=operation, accept=(400, 403, 404))
    if answer.status < 400:
        return answer
    try:
        error = msgspec.json.decode(answer.body, type=_Refused).error
    except msgspec.DecodeError:
        raise answer.fault(f"status {answer.status}, and not Stripe's form of an error") from None
    if answer.status in gone and (
        answer.status == 404 or (error.code == "resource_missing" and error.param == "starting_after")
    ):
        return answer
    message = run.http.redaction(error.message)
    if answer.status == 403 and error.code == "account_invalid":
        raise answer.fault(f"{message} Check STRIPE_ACCOUNT and the key.", AuthenticationFailed)
    if answer.status == 403:
        raise answer.fault(f"{message} Give the key this permission in the dashboard, or leave the table out.", Skipped)
    if answer.status == 400 and not error.param and not error.code:
        raise answer.fault(f"{message} Turn the product on, or leave the table out.", Skipped)
    raise answer.fault(message or f"status {answer.status}")
