"""A collection without a change stream: whole once a week, between that what its update field says has changed.

The field is read from its last value on, less an overlap, and never beyond the server's clock: a document dated in the future
would hide all others. Documents without a date in the field are read each time. Deletions are found by the weekly reading; for
Rocket.Chat also in its trash, each looked up in the collection before it is believed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Iterator
from typing import Any

from bson.datetime_ms import DatetimeMS

from datalake.lake.raw import now
from datalake.model import Table
from datalake.sources.base import Ask, Checkpoint, Deleted, Item, Page, Skipped
from datalake.sources.frontier import Frontier, text
from datalake.sources.mongodb_json import EXACT, dig, key, key_bytes, key_record
from datalake.sources.mongodb_run import Document, MongoRun, projection
from datalake.sources.mongodb_whole import CUT_FROM, answers, plan, read
from datalake.sources.paging import full_list
from datalake.sources.records import Record

OVERLAP = dt.timedelta(minutes=15)
"""Application servers set the field by their own clocks, and what was written may become visible late."""
WHOLE_EVERY = dt.timedelta(days=7)
TRASH = "rocketchat__trash"
_OLDEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LATEST = 253402300800000
"""The year 10000 in milliseconds: later dates are no Python dates."""


def poll(run: MongoRun, ask: Ask) -> Iterator[Item]:
    """What changed since the cursor, or everything: at first, every week, and where the contract names no update field."""
    table = ask.table
    field = _field(table)
    if not field:
        yield from whole_list(run, ask)
        return
    state = ask.cursor if ask.cursor.get("way") == "polling" else {}
    clock = run.clock()
    if "whole" not in state and (not state or clock - dt.datetime.fromisoformat(state["whole_at"]) >= WHOLE_EVERY):
        _check_index(run, ask, field)
        state = {
            "way": "polling",
            "database": run.name_of_database(table),
            "whole_at": text(clock),
            "newest": {"newest": text(clock)},
            "whole": {"at": now(), "ranges": plan(run, table)},
        }
    if "whole" in state:
        yield from read(run, ask, state, at=state["whole"]["at"])
    yield from _trash(run, table, state)
    changed = Frontier(state["newest"], OVERLAP)
    since = {field: {"$gte": dt.datetime.fromisoformat(changed.start)}}
    for at, found in answers(run, table, since, projection(table)):
        times = [text(min(_date(document, field), clock)) for document in found.bson]
        yield Page([record for record, _ in changed.fresh(found.records, times)], at)
    state["newest"] = changed.state()
    state["undated"] = yield from _changed_list(run, table, {field: {"$not": {"$type": "date"}}}, state.get("undated"))
    yield Checkpoint(state)


def whole_list(run: MongoRun, ask: Ask) -> Iterator[Item]:
    """Everything, told only if something of it changed."""
    at = now()
    found = yield from full_list(_pages(run, ask.table, {}), ask.cursor.get("digest"), {}, at)
    yield Checkpoint({"database": run.name_of_database(ask.table), "digest": found})


def window(run: MongoRun, ask: Ask) -> Iterator[Item]:
    """The documents whose update field lies in a stretch of the past. Raises Skipped where the contract names none."""
    assert ask.window is not None
    field = _field(ask.table)
    if not field:
        raise Skipped(f"{ask.table.id}: its contract names no timestamp as cursor, so no stretch of the past can be asked for")
    yield from _pages(run, ask.table, {field: {"$gte": ask.window.since, "$lt": ask.window.until}})


def _pages(run: MongoRun, table: Table, filter_: Document) -> Iterator[Page]:
    for at, found in answers(run, table, filter_, projection(table)):
        yield Page(found.records, at)


def _changed_list(run: MongoRun, table: Table, filter_: Document, known: str | None) -> Generator[Page, None, str]:
    """The documents that a filter finds, if they are not those of the digest that is known; what is not among them may live."""
    listing = full_list(_pages(run, table, filter_), known, {}, now())
    while True:
        try:
            item = next(listing)
        except StopIteration as end:
            return str(end.value)
        if isinstance(item, Page):
            yield item


def _trash(run: MongoRun, table: Table, state: dict[str, Any]) -> Iterator[Item]:
    """What Rocket.Chat threw away since the last reading. Of some collections it keeps no copy, and of none beyond 30 days."""
    database = run.client[state["database"]]
    if table.path == TRASH or TRASH not in database.list_collection_names(filter={"name": TRASH}):
        return
    seen = Frontier(state.get("trash") or {"newest": state["whole_at"]}, OVERLAP)
    wanted = {
        "__collection__": table.path.removeprefix("rocketchat_"),
        "_deletedAt": {"$gte": dt.datetime.fromisoformat(seen.start)},
    }
    run.count(table.id, calls=1)
    found = list(database.get_collection(TRASH, EXACT).find(wanted, {"_deletedAt": 1}))
    marks: list[Record] = [key_bytes([each["_id"], each["_deletedAt"]]) for each in found]
    times = [text(_moment(each["_deletedAt"])) for each in found]
    fresh = {mark for mark, _ in seen.fresh(marks, times)}
    ids = [each["_id"] for mark, each in zip(marks, found, strict=True) if mark in fresh]
    if ids:
        at = now()
        alive: set[bytes] = set()
        for _, living in answers(run, table, {"_id": {"$in": ids}}, {"_id": 1}):
            alive.update(key_bytes(key(document)) for document in living.bson)
        for value in ids:
            if key_bytes(value) not in alive:
                yield Deleted(key_record(value), at)
    state["trash"] = seen.state()


def _field(table: Table) -> str:
    """The path of the update field, where the contract names a timestamp as cursor."""
    if table.cursor is None or table.column(table.cursor).type.kind != "timestamp":
        return ""
    return ".".join(table.column(table.cursor).field)


def _date(document: bytes, field: str) -> dt.datetime:
    """The date in the update field. Where lists lie on the path it is the oldest possible one: such documents come again."""
    value = dig(document, field.split("."))
    return _moment(value) if isinstance(value, DatetimeMS) and 0 <= int(value) < _LATEST else _OLDEST


def _moment(value: DatetimeMS) -> dt.datetime:
    return _OLDEST + dt.timedelta(milliseconds=int(value))


def _check_index(run: MongoRun, ask: Ask, field: str) -> None:
    """Without an index every reading of changes reads the whole collection at the server."""
    collection = run.collection(ask.table)
    if collection.estimated_document_count() >= CUT_FROM:
        firsts = {next(iter(index["key"])) for index in collection.list_indexes()}
        if field not in firsts:
            ask.note(f"no index begins with {field}: the server reads the whole collection each time. Create one")
