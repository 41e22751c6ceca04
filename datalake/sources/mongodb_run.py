"""One run of MongoDB: the connection, where a table lies, what it costs, and errors in words. Reading lives beside it."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, errors
from pymongo.collection import Collection
from pymongo.uri_parser import parse_uri

from datalake.model import Source, Table
from datalake.redaction import Redaction
from datalake.settings import SettingError, Settings
from datalake.sources.base import (
    Ask,
    AuthenticationFailed,
    Item,
    Permanent,
    Skipped,
    SourceError,
    Transient,
)
from datalake.sources.mongodb_json import EXACT, TOP

READERS = 8
"""Answers fetched side by side, all tables of a run together: each may hold 16 MB."""
ANSWER_BYTES = 4 * 1024 * 1024
"""What an answer should hold; the server ends each at 16 MB whatever is asked."""
MOST_DOCUMENTS = 10_000
LOOK_AT = 20
"""Documents that are weighed where the server does not tell how large they are."""
UNAUTHORIZED, NO_NAMESPACE, NO_CHANGE_STREAMS = 13, 26, 40573
_LOGIN = {18, 8000, 11, 334}
"""Authentication failed: MongoDB, Atlas, unknown user, unknown mechanism."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Oplog:
    """The server's memory of changes: the seconds since 1970 of its oldest and newest entry."""

    first: int
    last: int
    full: bool
    """Whether it has lost entries: it no longer begins with the one that began the replica set."""

    @property
    def hours(self) -> float:
        return (self.last - self.first) / 3600


class MongoRun:
    """One run: a client, threads for answers side by side, and what the run has cost."""

    def __init__(
        self, source: Source, settings: Settings, functions: Mapping[str, Callable[[Any, Ask], Iterator[Item]]]
    ) -> None:
        self.source = source
        self._functions = functions
        url = settings.require("MONGODB_URL")
        try:
            parsed = parse_uri(url)
        except (errors.PyMongoError, ValueError) as error:
            hidden = Redaction([url])(str(error))
            raise SettingError(
                f"MONGODB_URL is no address of a MongoDB ({hidden}): write mongodb://user:password@host/"
            ) from None
        self.redaction = Redaction([url, parsed["password"] or ""])
        self.database = settings["MONGODB_DATABASE"] or parsed["database"] or ""
        self.hosts = ", ".join(f"{host}:{port}" for host, port in parsed["nodelist"])
        defaults: dict[str, Any] = {
            "appname": "datalake",
            "serverSelectionTimeoutMS": 15_000,
            "socketTimeoutMS": 300_000,
            "readPreference": "secondaryPreferred",
            "readConcernLevel": "majority",
        }
        given = {name.lower() for name in parsed["options"]}
        self.client: MongoClient[Document] = MongoClient(
            url, connect=False, **{name: value for name, value in defaults.items() if name.lower() not in given}
        )
        self.pool = ThreadPoolExecutor(READERS, "mongodb")
        self._counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._lock = threading.Lock()
        self._sizes: dict[str, float] = {}

    def rows(self, ask: Ask) -> Iterator[Item]:
        """The rows of a table, by the function that its contract names."""
        function = self._functions.get(ask.table.rows)
        if function is None:
            raise Permanent(f"{ask.table.id}: the contract says rows: {ask.table.rows}; tables of MongoDB say rows: collection")
        with self.told(ask.table.id):
            yield from function(self, ask)

    def calls(self, table_id: str) -> dict[str, float]:
        with self._lock:
            return dict(self._counted[table_id])

    def count(self, table_id: str, **what: float) -> None:
        """Add to what the table has cost: `calls`, `bytes`, `retries`, `waited`."""
        with self._lock:
            for name, value in what.items():
                self._counted[table_id][name] += value  # type: ignore[assignment]  # a Counter adds fractions as well

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.client.close()

    # Where a table lies, and what may be read of it.

    def name_of_database(self, table: Table) -> str:
        return dict(table.params).get("database") or self.database_or_refuse()

    def database_or_refuse(self) -> str:
        """The settings' database. Raises SettingError where they name none."""
        if not self.database:
            raise SettingError(
                "MONGODB_DATABASE is not set, and MONGODB_URL names no database. Write the database that holds the collections."
            )
        return self.database

    def collection(self, table: Table) -> Collection[Document]:
        return self.client[self.name_of_database(table)].get_collection(table.path, codec_options=EXACT)

    def raw_collection(self, table: Table) -> Collection[RawBSONDocument]:
        """The same, for answers whose documents are looked into only here and there."""
        return self.client[self.name_of_database(table)].get_collection(table.path, codec_options=TOP)  # type: ignore[return-value]  # the driver types it by the client

    def average_size(self, table: Table) -> float:
        """Bytes of a document of the collection, about: as the server tells, or of the first ones."""
        if table.id not in self._sizes:
            size = None
            with contextlib.suppress(errors.OperationFailure):
                self.count(table.id, calls=1)
                told = list(self.collection(table).aggregate([{"$collStats": {"storageStats": {}}}]))
                bytes_, count = (sum(shard["storageStats"].get(name) or 0 for shard in told) for name in ("size", "count"))
                size = bytes_ / count if count and bytes_ else None
            if size is None:
                self.count(table.id, calls=1)
                first = [len(document.raw) for document in self.raw_collection(table).find(limit=LOOK_AT)]
                size = max(sum(first) / max(len(first), 1), 1.0)
            self._sizes[table.id] = size
        return self._sizes[table.id]

    @cached_property
    def hello(self) -> Document:
        """What the server says of itself."""
        return dict(self.client.admin.command("hello"))

    def clock(self) -> dt.datetime:
        """The server's time."""
        told: dt.datetime = self.client.admin.command("hello")["localTime"]
        return told.replace(tzinfo=told.tzinfo or dt.UTC)

    @property
    def tells_changes(self) -> bool:
        """Whether the server is of a kind that has change streams: a replica set or a sharded cluster."""
        return "setName" in self.hello or self.hello.get("msg") == "isdbgrid"

    def kind(self, table: Table) -> str:
        """`collection`, `view`, `timeseries`, or empty where there is no such collection."""
        collection = self.collection(table)
        for found in collection.database.list_collections(filter={"name": collection.name}):
            return str(found.get("type", "collection"))
        return ""

    @cached_property
    def oplog(self) -> Oplog | None:
        """The server's memory of changes; None where the user may not look or there is none."""
        entries = self.client.local["oplog.rs"]
        try:
            first, last = (entries.find_one({}, {"ts": 1, "o.msg": 1}, sort=[("$natural", way)]) for way in (1, -1))
        except errors.OperationFailure:
            return None
        if first is None or last is None:
            return None
        return Oplog(first["ts"].time, last["ts"].time, full=first.get("o", {}).get("msg") != "initiating set")

    @contextlib.contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Errors of the driver as those of `base.py`, with `what` was asked and nothing secret."""
        try:
            yield
        except errors.PyMongoError as error:
            raise self.fault(what, error) from None

    def fault(self, what: str, error: errors.PyMongoError) -> SourceError:
        text = self.redaction(str(error).partition(", full error:")[0])
        match error:
            case errors.OperationFailure(code=code) if code in _LOGIN:
                return AuthenticationFailed(
                    f"{what}: {self.hosts} refuses the user of MONGODB_URL: {text}. Check user, password and authSource"
                )
            case errors.OperationFailure(code=code) if code == UNAUTHORIZED:
                return Skipped(f"{what}: the user of MONGODB_URL may not read it: {text}. Grant the role read on its database")
            case errors.ServerSelectionTimeoutError():
                return Transient(f"{what}: no server answers at {self.hosts}: {text.partition(', Timeout:')[0]}")
            case errors.ConnectionFailure() | errors.CursorNotFound() | errors.WaitQueueTimeoutError():
                return Transient(f"{what}: the connection to {self.hosts} was lost: {text}. Run again")
            case errors.OperationFailure(code=code):
                return Permanent(f"{what}: {self.hosts} answers with error {code}: {text}")
        return Permanent(f"{what}: {self.hosts}: {type(error).__name__}: {text}")


def projection(table: Table) -> Document | None:
    """What the server leaves out: the contract's secrets; or, where it names `fields`, all but those.

    The server's paths go through lists by themselves, and it refuses a path beside one that holds it.
    """
    fields = [value for name, value in table.params if name == "fields"]
    if fields:
        return dict.fromkeys(["_id", *fields], 1)
    paths = {".".join(step for step in path.split(".") if step != "*") for path in table.secrets if not path.endswith("*")}
    inner = {path for path in paths for other in paths if path.startswith(f"{other}.")}
    return dict.fromkeys(sorted(paths - inner), 0) or None
