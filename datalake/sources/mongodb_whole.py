"""A whole reading of a collection: ranges of `_id` cut for each BSON type, read side by side, each from where it stood.

The server compares values only with those of their own type: `{_id: {$gt: ObjectId(…)}}` never finds an `_id` that is text. So
the types are listed first and the ranges cut inside each. What is left to read is plain data, kept in the table's cursor.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import pairwise
from typing import Any, cast

from pymongo import errors

from datalake.lake.raw import now
from datalake.model import Table
from datalake.sources.base import Ask, Checkpoint, Complete, Item, Page
from datalake.sources.mongodb_json import Documents, documents, from_plain, key, to_plain
from datalake.sources.mongodb_run import ANSWER_BYTES, MOST_DOCUMENTS, Document, MongoRun, projection

TYPES: dict[str, tuple[str, ...]] = {
    "minKey": ("minKey",),
    "null": ("null", "undefined"),
    "number": ("double", "int", "long", "decimal"),
    "string": ("string", "symbol"),
    "object": ("object",),
    "binData": ("binData",),
    "objectId": ("objectId",),
    "bool": ("bool",),
    "date": ("date",),
    "timestamp": ("timestamp",),
    "dbPointer": ("dbPointer",),
    "javascript": ("javascript",),
    "javascriptWithScope": ("javascriptWithScope",),
    "maxKey": ("maxKey",),
}
"""Types that are compared with one another, by a common name, with their aliases in `$type`. No `_id` is a list or regex."""
_BY_NUMBER = {
    0x01: "number", 0x02: "string", 0x03: "object", 0x05: "binData", 0x06: "null", 0x07: "objectId", 0x08: "bool", 0x09: "date",
    0x0A: "null", 0x0C: "dbPointer", 0x0D: "javascript", 0x0E: "string", 0x0F: "javascriptWithScope", 0x10: "number",
    0x11: "timestamp", 0x12: "number", 0x13: "number", 0x7F: "maxKey", 0xFF: "minKey",
}  # fmt: skip
_ORDERED = {"number", "string", "object", "binData", "objectId", "date", "timestamp"}
"""Types with enough values to be cut, and with an order that `$gt` follows."""

RANGE_DOCUMENTS = 250_000
"""Documents of one range, about."""
CUT_FROM = 40_000
"""Documents from which a collection is cut at all, …"""
FEWEST, MOST = 4, 64
"""… into at least and at most so many ranges."""
SAMPLES = 100
"""Ids sampled for each range. Below 5 % of the collection the server takes them without reading it all."""
READERS_OF_TABLE = 4
TRIES = 6
"""How often in a row an answer may fail before the table does."""
_PASSING = {43, 91, 133, 134, 175, 189, 237, 262, 11600, 11602}
"""Cursor not found or killed, plan killed, interrupted or shutting down, stepped down, no node or majority to read from yet."""
_NAN = {"type": "number", "is": {"$numberDouble": "NaN"}}

Range = dict[str, Any]
"""`type`, and as plain data `from` (inclusive), `to` (exclusive), `after` (the last one read); `is` for a single value."""


def plan(run: MongoRun, table: Table) -> list[Range]:
    """The ranges that hold every document of the collection once."""
    types = list(_types(run, table))
    collection = run.collection(table)
    run.count(table.id, calls=1)
    count = collection.estimated_document_count()
    if count < CUT_FROM:
        return [{"type": type_} for type_ in types]
    wanted = min(max(FEWEST, math.ceil(count / RANGE_DOCUMENTS)), MOST)
    run.count(table.id, calls=1)
    stages: list[Document] = [{"$sample": {"size": wanted * SAMPLES}}, {"$project": {"_id": 1}}, {"$sort": {"_id": 1}}]
    sample = [bytes(document.raw) for document in run.raw_collection(table).aggregate(stages, allowDiskUse=True)]
    ranges: list[Range] = []
    for type_ in types:
        ids = [to_plain(key(document)) for document in sample if _BY_NUMBER[document[4]] == type_]
        cuts = _cuts(ids, round(wanted * len(ids) / max(len(sample), 1))) if type_ in _ORDERED else []
        if cuts and type_ == "number":
            ranges.append(_NAN)  # no comparison finds it
        for low, high in pairwise([None, *cuts, None]):
            ranges.append(
                {"type": type_, **({"from": low} if low is not None else {}), **({"to": high} if high is not None else {})}
            )
    return ranges


def read(run: MongoRun, ask: Ask, state: dict[str, Any], *, at: str) -> Iterator[Item]:
    """Read what is left in `state["whole"]["ranges"]`, with checkpoints of `state`; at its end `whole` is gone from there.

    `at` is when the reading began, perhaps in an earlier run: rows last seen before are then gone at the source.
    """
    table = ask.table
    left: list[Range] = state["whole"]["ranges"]
    hidden = projection(table)
    for range_, asked_at, found in _side_by_side(run, table, left, hidden):
        if found is None:
            left.remove(range_)
            continue
        yield Page(found.records, asked_at)
        range_["after"] = to_plain(key(found.last))
        yield Checkpoint(state)
    del state["whole"]
    yield Complete({}, at)
    yield Checkpoint(state)


def answers(
    run: MongoRun, table: Table, filter_: Mapping[str, Any], fields: Document | None, **how: Any
) -> Iterator[tuple[str, Documents]]:
    """The answers to one query, each with the time just before it was asked for; `how` is `find`'s. No try is repeated."""
    cursor = run.raw_collection(table).find_raw_batches(filter_, fields, batch_size=_batch(run, table), **how)
    with cursor:
        while True:
            at = now()
            batch = cast("bytes", next(cursor, b""))
            run.count(table.id, calls=1, bytes=len(batch))
            if not batch:
                return
            yield at, documents(batch)


def _types(run: MongoRun, table: Table) -> Iterator[str]:
    """The types that the collection's `_id`s have: one look into the index each, and one that finds no other."""
    left = dict(TYPES)
    collection = run.raw_collection(table)
    while left:
        aliases = [alias for names in left.values() for alias in names]
        run.count(table.id, calls=1)
        found = next(iter(collection.find({"_id": {"$type": aliases}}, {"_id": 1}, limit=1)), None)
        if found is None:
            return
        type_ = _BY_NUMBER[found.raw[4]]
        del left[type_]
        yield type_


def _cuts(ids: list[Any], parts: int) -> list[Any]:
    """Where to cut sorted ids into equal parts."""
    cuts = [ids[len(ids) * number // parts] for number in range(1, parts)]
    return [cut for number, cut in enumerate(cuts) if cut != ids[0] and cut not in cuts[:number]]


def _filter(range_: Range) -> Document:
    """The query for what is left of a range."""
    if "is" in range_:
        return {"_id": from_plain(range_["is"])}
    bounds = {name: from_plain(range_[name]) for name in ("from", "to", "after") if name in range_}
    condition: Document = {}
    if "after" in bounds and str(bounds["after"]).lower() == "nan" and range_["type"] == "number":
        condition["$ne"] = bounds["after"]  # it stands before all other numbers, and no comparison with it finds them
    elif "after" in bounds and range_["type"] in _ORDERED:
        condition["$gt"] = bounds["after"]
    elif "from" in bounds:
        condition["$gte"] = bounds["from"]
    if "to" in bounds:
        condition["$lt"] = bounds["to"]
    if not condition.keys() & {"$gt", "$gte", "$lt"}:
        condition["$type"] = list(TYPES[range_["type"]])
    return {"_id": condition}


def _side_by_side(
    run: MongoRun, table: Table, ranges: list[Range], hidden: Document | None
) -> Iterator[tuple[Range, str, Documents | None]]:
    """Answers of several ranges at once, in the order of each range; None where a range is at its end.

    While an answer is taken, at most the next one of each range waits.
    """
    waiting = deque(ranges)
    running: dict[Future[tuple[str, Documents] | None], tuple[Range, Iterator[tuple[str, Documents]]]] = {}

    def fetch(range_: Range, steps: Iterator[tuple[str, Documents]]) -> None:
        running[run.pool.submit(next, steps, None)] = (range_, steps)

    try:
        while waiting or running:
            while waiting and len(running) < READERS_OF_TABLE:
                range_ = waiting.popleft()
                fetch(range_, _range(run, table, dict(range_), hidden))
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                range_, steps = running.pop(future)
                answer = future.result()
                if answer is None:
                    yield range_, "", None
                else:
                    fetch(range_, steps)
                    yield range_, *answer
    finally:
        wait(running)
        for _, steps in running.values():
            cast("Generator[Any]", steps).close()


def _range(run: MongoRun, table: Table, range_: Range, hidden: Document | None) -> Iterator[tuple[str, Documents]]:
    """The answers of one range. Where a cursor or the connection is lost, a new one goes on behind the last `_id`."""
    failures = 0
    while True:
        try:
            for at, found in answers(run, table, _filter(range_), hidden, sort=[("_id", 1)], hint=[("_id", 1)]):
                failures = 0
                range_["after"] = to_plain(key(found.last))
                yield at, found
        except errors.PyMongoError as error:
            failures += 1
            if failures >= TRIES or not _passing(error):
                raise
            pause = min(0.1 * 3**failures, 10.0)
            run.count(table.id, retries=1, waited=pause)
            time.sleep(pause)
        else:
            return


def _passing(error: errors.PyMongoError) -> bool:
    """Whether asking again may help."""
    if isinstance(error, errors.OperationFailure):
        return error.code in _PASSING
    return isinstance(error, errors.ConnectionFailure)


def _batch(run: MongoRun, table: Table) -> int:
    """Documents of one answer, so that it holds about `ANSWER_BYTES`."""
    return max(1, min(MOST_DOCUMENTS, int(ANSWER_BYTES / run.average_size(table))))
