"""A collection kept up to date by its change stream: whole once, then the documents whose keys the stream names.

The stream tells only keys. What they hold is asked for afterwards, at least as new as the event that named them (one causally
consistent session), so a document that changed a hundred times is read once, no event is too large to pass, and no secret
travels in one. A key that is not found any more is deleted. The resume token lies in the table's cursor.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bson import Timestamp
from pymongo import errors
from pymongo.change_stream import ChangeStream
from pymongo.client_session import ClientSession

from datalake.lake.raw import now
from datalake.model import Table
from datalake.sources.base import Ask, Checkpoint, Deleted, Item, Page, Permanent
from datalake.sources.mongodb_json import from_plain, key, key_bytes, key_record, to_plain
from datalake.sources.mongodb_run import NO_CHANGE_STREAMS, UNAUTHORIZED, Document, MongoRun, projection
from datalake.sources.mongodb_whole import answers, plan, read

PIPELINE: list[Document] = [{"$project": {"operationType": 1, "ns": 1, "documentKey._id": 1, "clusterTime": 1}}]
KEYS = 2000
"""Keys that are looked up at once."""
AWAIT_MS = 200
"""How long the server waits for an event before it says that there is none."""
PATIENCE = 50
"""Answers without an event after which a stream that has not reached the present is left for the next run."""
_LOST = {9, 260, 280, 286, 40585, 40615}
"""The token is no token (any more): malformed, invalid, not found; its changes are forgotten; as older servers say it."""
_DROPS = {"drop", "rename", "dropDatabase", "invalidate"}


class NoStream(Exception):
    """The server or the user's rights allow no change stream."""


class _Lost(Exception):
    """The stream cannot go on from where the cursor stands: the changes since then are forgotten."""


class _Gone(Exception):
    """The collection was dropped or renamed, and the stream has told it."""


def follow(run: MongoRun, ask: Ask) -> Iterator[Item]:
    """All documents the first time, afterwards what changed. A lost token costs one whole reading, told, never a second.

    Raises NoStream before anything is yielded.
    """
    table = ask.table
    state = ask.cursor if ask.cursor.get("way") == "changes" else _begin(run, table)
    for last_try in (False, True):
        if "whole" in state:
            yield from read(run, ask, state, at=state["whole"]["at"])
        try:
            yield from _drain(run, ask, state)
        except (_Lost, _Gone) as why:
            if last_try:
                raise Permanent(f"{table.id}: {why}, although it was just read whole. {_advice(run)}") from None
            if isinstance(why, _Lost) and not run.kind(table):
                raise Permanent(
                    f"{table.id}: {why}, and there is no collection {state['database']}.{table.path} any more, though nobody "
                    "told that it was dropped. Is MONGODB_URL another server's? Where it is right, run with --full: its rows "
                    "are then marked as deleted"
                ) from None
            ask.note(f"{why}: the collection is read whole once more{f'. {_advice(run)}' if isinstance(why, _Lost) else ''}")
            state = _begin(run, table)
            yield Checkpoint(state)
        else:
            return


def _begin(run: MongoRun, table: Table) -> dict[str, Any]:
    """The cursor of a whole reading: its ranges, and the token of the present, behind which later changes stand."""
    at = now()
    state: dict[str, Any] = {"way": "changes", "database": run.name_of_database(table)}
    with run.client.start_session(causal_consistency=True) as session, _open(run, table, state, session) as stream:
        _stand(state, stream, session.operation_time)
    return state | {"whole": {"at": at, "ranges": plan(run, table)}}


def _drain(run: MongoRun, ask: Ask, state: dict[str, Any]) -> Iterator[Item]:
    """The changes from the cursor's token up to the present, with checkpoints of `state`."""
    table = ask.table
    _check_age(run, ask, state)
    begun_at = _time(state)
    with run.client.start_session(causal_consistency=True) as session, _open(run, table, state, session) as stream:
        until = session.operation_time
        keys: dict[bytes, Any] = {}
        empty = 0
        while True:
            event = _next(run, table, stream)
            if event is None:
                empty += 1
            elif begun_at is not None and event["clusterTime"] < begun_at:
                raise Permanent(
                    f"{table.id}: the change stream went back from {begun_at} to {event['clusterTime']}; nothing of it was "
                    "kept. Run again; where it stays so, run with --full"
                )
            elif event["operationType"] not in _DROPS:
                value = event["documentKey"]["_id"]
                keys[key_bytes(value)] = value
            dropped = event["operationType"] if event and event["operationType"] in _DROPS else None
            passed = event is not None and until is not None and event["clusterTime"] > until
            if event is None or dropped or passed or len(keys) >= KEYS:
                yield from _look_up(run, table, keys, session)
                keys.clear()
                if dropped:
                    raise _Gone(f"the collection {state['database']}.{table.path} was dropped or renamed ({dropped})")
                _stand(state, stream, until if event is None else event["clusterTime"])
                yield Checkpoint(state)
            stands = _time(state) if event is None else None
            reached = stands is not None and until is not None and stands >= until
            if passed or reached or empty >= (PATIENCE if stands else 2):
                return


def _look_up(run: MongoRun, table: Table, keys: dict[bytes, Any], session: ClientSession) -> Iterator[Item]:
    """The documents of these keys as they are now; those that are not found are gone."""
    if not keys:
        return
    gone, at = dict(keys), now()
    hidden = projection(table)
    for asked_at, found in answers(run, table, {"_id": {"$in": list(keys.values())}}, hidden, session=session):
        for document in found.bson:
            gone.pop(key_bytes(key(document)), None)
        yield Page(found.records, asked_at)
    for value in gone.values():
        yield Deleted(key_record(value), at)


def _open(run: MongoRun, table: Table, state: dict[str, Any], session: ClientSession) -> ChangeStream[Document]:
    """The collection's stream, from where the state stands or from now. `startAfter` passes an invalidated stream as well."""
    start: dict[str, Any] = {}
    if "token" in state:
        start["start_after"] = from_plain(state["token"])
    elif "time" in state:  # servers that give no token before the first event
        start["start_at_operation_time"] = Timestamp(*state["time"])
    run.count(table.id, calls=1)
    with _losing(known=bool(start)):
        return run.collection(table).watch(PIPELINE, max_await_time_ms=AWAIT_MS, batch_size=KEYS, session=session, **start)


def _next(run: MongoRun, table: Table, stream: ChangeStream[Document]) -> Document | None:
    run.count(table.id, calls=1)
    with _losing(known=True):
        return stream.try_next()


@contextlib.contextmanager
def _losing(*, known: bool) -> Iterator[None]:
    """Refusals of a stream by what they mean here. `known` says whether it was to go on from somewhere."""
    try:
        yield
    except errors.OperationFailure as error:
        if known and error.code in _LOST:
            raise _Lost(f"the server has forgotten the changes since the last reading (error {error.code})") from None
        if error.code in (UNAUTHORIZED, NO_CHANGE_STREAMS):
            raise NoStream(str(error).partition(", full error:")[0]) from None
        raise


def _stand(state: dict[str, Any], stream: ChangeStream[Document], time: Timestamp | None) -> None:
    """Write into the cursor where the stream stands: on a quiet collection its token moves on as well."""
    if stream.resume_token is not None:
        state["token"] = to_plain(stream.resume_token)
    stands = _time(state) or time
    if stands is not None:
        state["time"] = [stands.time, stands.inc]
    if not state.keys() & {"token", "time"}:
        raise NoStream("the server tells neither a resume token nor the time of its operations")


def _time(state: Mapping[str, Any]) -> Timestamp | None:
    """The cluster time that the token stands for: MongoDB's begin with it (82 says timestamp); None for another server's."""
    match = re.match(r"82([0-9A-F]{8})([0-9A-F]{8})", str(state.get("token", {}).get("_data", "")))
    return Timestamp(int(match[1], 16), int(match[2], 16)) if match else None


def _check_age(run: MongoRun, ask: Ask, state: dict[str, Any]) -> None:
    """Tell people before the oplog forgets what was not read yet."""
    oplog = run.oplog
    if oplog and oplog.full and "time" in state and oplog.last - state["time"][0] > (oplog.last - oplog.first) / 2:
        hours = (oplog.last - state["time"][0]) / 3600
        ask.note(f"changes of {hours:.1f} hours are waiting, and the server's oplog holds {oplog.hours:.1f}. {_advice(run)}")


def _advice(run: MongoRun) -> str:
    holds = f" (it holds {run.oplog.hours:.1f} hours)" if run.oplog else ""
    return f"Read more often, or enlarge the server's oplog{holds}: it must outlast the time between readings, and a whole one"
