"""Rows that live inside other objects of Stripe: taken from the raw log of those, or asked for by their ids."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw

from datalake.lake.raw import Commit, RawLog
from datalake.lake.raw import now as utc_now
from datalake.model import Column, Table
from datalake.sources.base import Ask, Checkpoint, Complete, Deleted, Item, Page, Permanent, Skipped
from datalake.sources.paging import Line, by_commit, lines_of
from datalake.sources.paging import full_list as told_if_changed
from datalake.sources.records import Record, digest, elements, inner, pick
from datalake.sources.stripe_feed import CHUNK, batches
from datalake.sources.stripe_run import DAY, FEED_REACH, OVERLAP, StripeRun, feed_state, pages

WANTED_PARENTS = {"payout_balance_transactions": "automatic"}
"""Fan-outs that only some parents answer, and the parent's field that says so (a manual payout answers 400)."""
TOLD_BY_THE_FEED = frozenset(
    {"active_entitlements", "billing_credit_balance_transactions", "customer_bank_accounts", "customer_cards"}
    | {"customer_cash_balance_transactions"}
)
"""Fan-outs whose rows change while their parent does not: the feed tells of the rows, and names the parent."""
REPEATING = frozenset({"payment_records"})
"""Tables whose log repeats all rows when one changed: only the changed ones are worth a call."""
LONG = {"invoices": "invoice_line_items", "subscriptions": "subscription_items"}
"""Tables whose records show only the first of their parts, and the table of the parts."""
LATE_USAGE = 35 * DAY
"""Stripe takes usage for this far back: https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage"""


@dataclasses.dataclass(frozen=True)
class Parts:
    """How the rows of a table lie in its parent's records."""

    facts: dict[str, str]
    """Column -> field of the parent's record that it is taken from."""
    place: str = ""
    """Column that holds a part's place in a list, or its name in an object."""
    whole: str = ""
    """Column that names the parent, where a parent's record replaces all parts told before."""
    only: str = ""
    """Beginning of the `type` of the parents that have such parts."""


_LINE = {"invoice_id": "invoice", "line_item_id": "id"}
PARTS = {
    "balance_transaction_fee_details": Parts({"balance_transaction_id": "id"}, "fee_index"),
    "invoice_line_item_discounts": Parts(_LINE),
    "invoice_line_item_taxes": Parts(_LINE, "tax_index"),
    "price_currency_options": Parts({"price_id": "id"}, "currency", whole="price_id"),
    "price_tiers": Parts({"price_id": "id", "currency": "currency"}, "tier_index", whole="price_id"),
    "subscription_history": Parts(
        {"event_id": "id", "event_type": "type", "valid_from": "created"}, only="customer.subscription."
    ),
    "subscription_schedule_phases": Parts(
        {"subscription_schedule_id": "id"}, "phase_index", whole="subscription_schedule_id"
    ),
}  # fmt: skip


# Functions that the contracts name in `rows:`


def from_parent(run: StripeRun, ask: Ask) -> Iterator[Item]:  # noqa: ARG001 - the engine calls all alike
    """Parts of the parent's records. What the parent's log says of a scope as a whole is true of the parts in it too."""
    parts = PARTS[ask.table.name]
    columns = {field: column for column, field in parts.facts.items()}
    for commit, lines in _commits(ask):
        for line in lines:
            if line.lake.op == "complete":
                if line.lake.scope.keys() <= columns.keys():
                    yield Complete({columns[name]: value for name, value in line.lake.scope.items()}, line.lake.at)
                continue
            facts = dict(zip(parts.facts, pick(line.record, *parts.facts.values()), strict=True))
            if line.lake.op == "" and str(facts.get("event_type", "")).startswith(parts.only):
                for place, record in _inside(line.record, ask.table.records, named=parts.place):
                    yield Page([record], line.lake.at, {**facts, **({parts.place: place} if parts.place else {})})
            if parts.whole:
                yield Complete({parts.whole: facts[parts.whole]}, line.lake.at)
        yield Checkpoint({"parent_sequence": commit.sequence})


def embedded_then_children(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """Rows from the lists inside changed parents; their own path is asked only where the list inside is cut short."""
    for batch in _changed_parents(ask):
        if isinstance(batch, Checkpoint | Complete):
            yield batch
            continue
        cut_short = []
        for parent in batch:
            records, has_more = _list_inside(parent.record, ask.table.records) if parent.record is not None else ([], False)
            if has_more:
                cut_short.append(parent.id)
            else:
                yield from _children(ask.table, parent.id, [Page(records, parent.at)], parent.at)
        yield from _read_all(run, ask.table, cut_short)


def children_of_changed(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """Rows of every parent that changed, from their own path; and of those that the feed names, where it tells of the rows."""
    feed = _Feed(run, ask) if ask.table.name in TOLD_BY_THE_FEED and not ask.window else None
    if feed and feed.lost:
        ask.note("the last sync is over 28 days ago, further back than Stripe's events reach: every parent is read again")
        ask = dataclasses.replace(ask, cursor={})
    wanted = WANTED_PARENTS.get(ask.table.name)
    for batch in _changed_parents(ask):
        if isinstance(batch, Checkpoint):
            ask = dataclasses.replace(ask, cursor=batch.cursor)
            yield Checkpoint(batch.cursor | (feed.before if feed else {}))
        elif isinstance(batch, Complete):
            yield batch
        else:
            for parent in batch:
                if parent.record is None:
                    yield from _children(ask.table, parent.id, [], parent.at)
            alive = [parent.id for parent in batch if parent.record is not None and _is(parent.record, wanted)]
            yield from _read_all(run, ask.table, alive)
            if feed:
                feed.owners.difference_update(alive)
    if feed:
        for owners in batches(sorted(feed.owners), CHUNK):
            yield from _read_all(run, ask.table, owners)
        yield Checkpoint({**ask.cursor, **feed.after})


def children_of_all(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """Rows that change without a word: those of every living parent, once a day, told when one of them changed.

    Connected accounts may refuse one by one (those that manage themselves do): such an account's rows stay as they are.
    """
    day = run.horizon // DAY
    if ask.cursor.get("day") == day and not ask.window:
        return
    at = utc_now()
    owners = living(ask.parent, wanted=_is_metered) if ask.table.parent == "subscription_items" else living(ask.parent)
    refusals: list[Skipped] = []
    complete: list[Complete] = []

    def read(owner: str) -> list[Item] | Skipped:
        try:
            return _read_children(run, ask.table, owner)
        except Skipped as refusal:
            return refusal

    def listed() -> Iterator[Page]:
        for rows in run.workers.each(owners, read):
            if isinstance(rows, Skipped):
                refusals.append(rows)
                if ask.table.parent != "accounts" or len(refusals) == len(owners):
                    raise rows
                continue
            yield from (item for item in rows if isinstance(item, Page))
            complete.extend(item for item in rows if isinstance(item, Complete))

    told, found = told_if_changed(listed(), ask.cursor.get("digest"), {}, at), ""
    while not found:
        try:
            item = next(told)
        except StopIteration as end:
            found = end.value
        else:
            # With all parents read, what is missing is gone, wherever it was. Otherwise only what is missing in those read.
            yield from complete if isinstance(item, Complete) and refusals else (item,)
    if refusals:
        ask.note(f"{len(refusals)} of {len(owners)} connected accounts refuse, their rows stay as they are: {refusals[0]}")
    yield Checkpoint({"digest": found, "day": day})


def meter_summaries(run: StripeRun, ask: Ask) -> Iterator[Item]:
    """What each customer used of each meter, by whole UTC days. Usage may come late: the last 35 days are read again.

    `load` in the cursor is a reading that is not finished: its stretch of days, and the last meter and customer read.
    """
    assert ask.parent is not None
    customers_log = RawLog(ask.parent.objects, run.source.tables["customers"])
    today, through = run.horizon // DAY * DAY, ask.cursor.get("through", 0)
    load: dict[str, Any]
    if ask.window:
        since, until = int(ask.window.since.timestamp()), int(ask.window.until.timestamp())
        load = {"start": since // DAY * DAY, "end": min(-(-until // DAY) * DAY, today), "after": []}
    else:
        start = through - LATE_USAGE if through else run.since // DAY * DAY
        load = ask.cursor.get("load") or {"start": today if through == today else start, "end": today, "after": []}
    due = load["start"] < load["end"]
    meters, customers = (living(ask.parent, "created"), living(customers_log)) if due else ({}, {})
    # Usage is no older than the meter, but for what came late.
    begins = {meter: max(load["start"], created // DAY * DAY - LATE_USAGE) for meter, created in meters.items()}
    pairs = sorted((meter, customer) for meter in begins if begins[meter] < load["end"] for customer in customers)

    def read(pair: tuple[str, str]) -> list[Page]:
        meter, customer = pair
        stretch = [("start_time", str(begins[meter])), ("end_time", str(load["end"]))]
        params = [*ask.table.params, ("customer", customer), *stretch]
        path = ask.table.path.replace("{meter}", quote(meter, safe=""))
        found = pages(run, ask.table, path, f"GET {ask.table.path}", params, gone=(404,))
        return [Page(page.records, page.at, {"customer_id": customer}) for page in found]

    for chunk in batches([pair for pair in pairs if list(pair) > load["after"]], CHUNK):
        for listed in run.workers.each(chunk, read):
            yield from listed
        yield Checkpoint({**ask.cursor, "load": {**load, "after": list(chunk[-1])}})
    for commit in customers_log.since(ask.cursor.get("customers_sequence", 0)):
        for line in lines_of(customers_log, commit):
            if line.lake.op == "delete":
                yield Complete({"customer_id": pick(line.record, "id")[0]}, line.lake.at)
    head = customers_log.head()
    yield Checkpoint({"through": load["end"], "customers_sequence": head.sequence if head else 0})


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
            cut_short = []
            for row in rows:
                if not row.deleted:
                    yield from _discounts_in(row.record, row.at, stays=name == "invoices")
                    if _hides_discounts(row.record):
                        cut_short.append(row.fields[0])
            # Items and lines beyond the first ten are read once more for the discounts that only they show.
            for item in _read_all(run, run.source.tables[LONG[name]], cut_short) if cut_short else ():
                if isinstance(item, Page):
                    for record in item.records:
                        yield from _discounts_in(record, item.at, stays=name == "invoices")
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
    yield Checkpoint({"sequences": sequences, **feed_state(found, horizon)})


# Parents


def living(log: RawLog | None, field: str = "id", wanted: Callable[[Record], bool] = lambda _record: True) -> dict[str, Any]:
    """The objects of a table that its raw log shows as alive, and wanted: their ids, each with the value of a field."""
    assert log is not None
    found: dict[str, tuple[str, Any]] = {}
    for commit in log.since(0):
        for line in lines_of(log, commit):
            if line.lake.op == "complete":
                if not line.lake.scope:
                    found = {id_: (at, value) for id_, (at, value) in found.items() if at >= line.lake.at}
                continue
            (id_,) = pick(line.record, "id")
            if line.lake.op == "" and wanted(line.record):
                found[id_] = line.lake.at, pick(line.record, field)[0]
            else:
                found.pop(id_, None)
    return {id_: value for id_, (_, value) in found.items()}


@dataclasses.dataclass(frozen=True)
class _Parent:
    id: str
    at: str
    record: Record | None
    """None: it is gone."""


def _commits(ask: Ask) -> Iterator[tuple[Commit, Iterator[Line]]]:
    """New commits of the parent's log, each with all its lines."""
    if ask.parent is None:
        raise Permanent(f"{ask.table.id} follows no parent: its contract names none")
    for commit in ask.parent.since(ask.cursor.get("parent_sequence", 0)):
        yield commit, lines_of(ask.parent, commit)


def _changed_parents(ask: Ask) -> Iterator[list[_Parent] | Checkpoint | Complete]:
    """Lines of the parent's log, in batches, each followed by its checkpoint: a run that dies goes on inside a commit.

    Where a list of all parents was read, those that it left out are gone, and their rows with them.
    """
    skip = ask.cursor.get("rows", 0)
    known = _known(ask) if ask.table.parent in REPEATING else {}
    for commit, lines in _commits(ask):
        done = 0
        for batch in batches(lines, CHUNK):
            done += len(batch)
            if done > skip:
                parents = [_parent(line) for line in batch if line.lake.op != "complete"]
                if ask.table.parent in REPEATING:
                    parents = [parent for parent in parents if _learn(known, parent)]
                yield parents
                yield from (Complete({}, line.lake.at) for line in batch if _is_whole(ask.table, line))
                yield Checkpoint({"parent_sequence": commit.sequence - 1, "rows": done})
        skip = 0
        yield Checkpoint({"parent_sequence": commit.sequence})


def _is_whole(table: Table, line: Line) -> bool:
    """Whether the line says that all parents were read, and that all their rows are read again because of it."""
    return line.lake.op == "complete" and not line.lake.scope and table.parent not in REPEATING


def _parent(line: Line) -> _Parent:
    record = line.record if line.lake.op == "" else None
    return _Parent(pick(line.record, "id")[0], line.lake.at, record)


def _known(ask: Ask) -> dict[str, str]:
    """Fingerprints of the parents as they stood when their rows were read last."""
    assert ask.parent is not None
    known: dict[str, str] = {}
    for commit in ask.parent.since(0):
        if commit.sequence > ask.cursor.get("parent_sequence", 0):
            break
        for line in lines_of(ask.parent, commit):
            if line.lake.op != "complete":
                _learn(known, _parent(line))
    return known


def _learn(known: dict[str, str], parent: _Parent) -> bool:
    """Remember how a parent looks; says whether that is new."""
    found = digest([parent.record])[:16] if parent.record is not None else ""
    changed = known.get(parent.id) != found
    known[parent.id] = found
    return changed


class _Feed:
    """What the feed says about the rows of a fan-out since the last run."""

    def __init__(self, run: StripeRun, ask: Ask) -> None:
        horizon, through, seen = run.horizon, ask.cursor.get("through"), set(ask.cursor.get("seen", ()))
        self.lost = through is not None and through < horizon - FEED_REACH
        anew = through is None or self.lost
        begin: int = horizon if anew else ask.cursor["through"]
        events = [event for event in run.events(begin - OVERLAP, ask) if event.type in ask.table.events and event.owner]
        self.owners: set[str] = set() if anew else {event.owner for event in events if event.id not in seen}
        self.after: dict[str, Any] = feed_state(events, horizon)
        self.before: dict[str, Any] = self.after if anew else {"through": through, "seen": sorted(seen)}
        """State while the parents are still read. A first reading that stops goes on with what was told since it began."""


def _is(record: Record, field: str | None) -> bool:
    return field is None or bool(pick(record, field)[0])


def _is_metered(record: Record) -> bool:
    """Whether a subscription item is billed by usage records: only those have summaries."""
    terms = inner(inner(record, "price") or b"{}", "recurring") or b"{}"
    usage, meter = pick(terms, "usage_type", "meter")
    return bool(usage == "metered" and meter is None)


# Rows


def _owner(table: Table) -> Column:
    """The column that holds the parent's id."""
    for column in table.columns:
        if column.refers == (table.source, table.parent, "id"):
            return column
    raise Permanent(f"{table.id}: no column refers to {table.parent}.id; name it in the contract")


def _children(table: Table, parent_id: str, listed: Iterable[Page], at: str) -> list[Item]:
    """The pages as rows of one parent, and word that these are all it has."""
    owner = _owner(table)
    add = {owner.field[0]: parent_id} if owner.from_request else {}
    rows: list[Item] = [Page(page.records, page.at, add) for page in listed if page.records]
    return [*rows, Complete({owner.name: parent_id}, at)]


def _read_all(run: StripeRun, table: Table, parents: Iterable[str]) -> Iterator[Item]:
    """All rows of these parents."""
    for items in run.workers.each(dict.fromkeys(parents), lambda id_: _read_children(run, table, id_)):
        yield from items


def _read_children(run: StripeRun, table: Table, parent_id: str) -> list[Item]:
    """All rows of one parent from their own path: `{…}` in it, or a parameter `{id}`, stands for the parent's id."""
    head, brace, tail = table.path.partition("{")
    path = f"{head}{quote(parent_id, safe='')}{tail.partition('}')[2]}" if brace else table.path
    params = [(name, parent_id if value == "{id}" else value) for name, value in table.params]
    # A connected account that left the platform is refused (403); every other parent that is gone is not found.
    gone = (403, 404) if table.parent == "accounts" else (404,)
    listed = list(pages(run, table, path, f"GET {table.path}", params, gone=gone))
    return _children(table, parent_id, listed, listed[0].at)


def _discounts_in(record: Record, at: str, *, stays: bool) -> Iterator[Item]:
    lists = (_list_inside(record, name)[0] for name in ("items", "lines"))
    for found in [each for owner in (record, *itertools.chain(*lists)) for each in _own_discounts(owner)]:
        if not _is_object(found):
            continue  # a bare id, which brings nothing but its name
        deleted, start = pick(found, "deleted", "start")
        if deleted:
            yield Deleted(bytes(found), at)
        elif stays:
            # Invoices go on showing discounts that ended. Such a copy counts as of the discount's start, so that
            # whatever the customer, the subscription or the feed told later wins.
            yield Page([found], f"{dt.datetime.fromtimestamp(start, dt.UTC):%Y-%m-%dT%H:%M:%S.%fZ}")
        else:
            yield Page([found], at)


def _hides_discounts(record: Record) -> bool:
    """Whether a discount can be on parts that the record does not show. An invoice names all; a subscription does not."""
    (_, more), (lines, more_lines) = (_list_inside(record, name) for name in ("items", "lines"))
    if not more_lines:
        return more
    told = {pick(each, "id")[0] for owner in (record, *lines) for each in _own_discounts(owner) if _is_object(each)}
    return bool({each["discount"] for each in pick(record, "total_discount_amounts")[0] or ()} - told)


def _is_object(value: Record) -> bool:
    return bytes(memoryview(value)[:1]) == b"{"


def _own_discounts(record: Record) -> list[Record]:
    one, several = inner(record, "discount"), inner(record, "discounts")
    return [*([one] if one is not None else []), *(elements(several) if several is not None else [])]


def _list_inside(record: Record, field: str) -> tuple[list[Record], bool]:
    """The records of a list object inside a record, and whether there are more than it shows."""
    found = inner(record, field)
    data = inner(found, "data") if found is not None else None
    if found is None or data is None:
        return [], False
    return elements(data), bool(pick(found, "has_more")[0])


def _inside(record: Record, path: str, *, named: str) -> Iterator[tuple[int | str, Record]]:
    """The parts at a dotted path: elements of a list by their place, members of an object by name, or one object."""
    value: Record | None = record
    for step in path.split("."):
        value = inner(value, step) if value is not None else None
    if value is None:
        return
    if bytes(memoryview(value)[:1]) == b"[":
        yield from enumerate(elements(value))
    elif named:
        yield from msgspec.json.decode(value, type=dict[str, Raw]).items()
    else:
        yield 0, value
