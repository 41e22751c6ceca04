"""MongoDB read from a real server into raw logs: whole by ranges, then by change streams, and what can go wrong."""

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS
from pymongo import MongoClient
from pymongo.database import Database

from datalake import contracts
from datalake.lake.objects import Objects
from datalake.lake.raw import RawLog
from datalake.model import Table
from datalake.sandbox.base import Server, running
from datalake.sandbox.mongodb_server import ADMIN
from datalake.settings import SettingError, Settings
from datalake.sources import identify, mongodb_whole, open_run
from datalake.sources.base import Ask, AuthenticationFailed, Deleted, Page, Permanent, Skipped, Transient, Window
from datalake.sources.engine import Extraction, extract
from datalake.sources.mongodb_json import key_record
from datalake.sources.mongodb_run import MongoRun
from datalake.sources.progress import LogProgress

SOURCE = contracts.load_source("mongodb")
THINGS = dataclasses.replace(
    SOURCE.tables["teams"], name="things", path="things", params=(("database", "shop"),), secrets=("password", "inside.token")
)
READ = ["read@rocketchat", "read@local", "clusterMonitor@admin", "read@shop"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("mongodb", seed=7, scale=0.01) as server:
        server.control(rights=READ)
        yield server


@pytest.fixture(scope="module")
def admin(server: Server) -> Iterator[MongoClient[dict[str, Any]]]:
    host = server.env["MONGODB_URL"].rpartition("@")[2].partition("/")[0]
    with MongoClient(host, username=ADMIN[0], password=ADMIN[1]) as client:
        yield client


@pytest.fixture
def shop(server: Server, admin: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    yield admin["shop"]
    admin.drop_database("shop")


class Lake:
    """The raw log of one table."""

    def __init__(self, env: dict[str, str], table: Table = THINGS) -> None:
        self.env, self.table = env, table
        self.log = RawLog(Objects(tempfile.mkdtemp()), table)

    def sync(self, **how: Any) -> Extraction:
        run = open_run(SOURCE, Settings.load(self.env), LogProgress())
        try:
            done = extract(run, self.table, self.log, run_id="test", parent=None, progress=LogProgress(), **how)
            done.commit()
        finally:
            run.close()
        return done

    @property
    def cursor(self) -> dict[str, Any]:
        head = self.log.head()
        assert head is not None
        return head.cursor

    def lines(self) -> Iterator[dict[str, Any]]:
        for commit in self.log.since(0):
            yield from map(json.loads, self.log.lines(commit))

    def living(self) -> dict[str, dict[str, Any]]:
        """The newest version of each document by its `_id` as text; those that were told gone are not among them."""
        newest: dict[str, tuple[str, dict[str, Any] | None]] = {}
        for line in self.lines():
            facts = line["_lake"]
            if facts.get("op") == "complete":
                newest = {id_: kept for id_, kept in newest.items() if kept[0] >= facts["at"]}
                continue
            id_ = json.dumps(line["record"]["_id"])
            if id_ not in newest or newest[id_][0] <= facts["at"]:
                newest[id_] = facts["at"], None if facts.get("op") == "delete" else line["record"]
        return {id_: record for id_, (_, record) in newest.items() if record is not None}


@pytest.fixture
def lake(server: Server) -> Lake:
    return Lake(server.env)


def text(id_: Any) -> str:
    return json.dumps(json.loads(key_record(id_))["_id"])


IDS: list[Any] = [
    MinKey(), None, float("nan"), float("-inf"), 1, Int64(2**40), 2.5, Decimal128("3.25"), -7, "a", "é",
    "6b031e51dde05574c84eeeff", {"a": 1}, {"a": {"b": "x"}}, b"xx", Binary(b"0" * 16, 4), ObjectId("6b031e51dde05574c84eeeff"),
    ObjectId(), True, False, DatetimeMS(5), DatetimeMS(-5), Timestamp(1, 2), Code("x"), MaxKey(),
]  # fmt: skip


@pytest.fixture
def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongodb_whole, "CUT_FROM", 10)


@pytest.mark.usefixtures("cut_small")
def test_ids_of_all_types_are_read_once_each(shop: Database[dict[str, Any]], lake: Lake) -> None:
    ids = [*IDS, *range(100, 200), *(f"text {n}" for n in range(100)), *(ObjectId() for _ in range(100))]
    shop.things.insert_many([{"_id": id_, "n": n} for n, id_ in enumerate(ids)])
    lake.sync()
    told = [json.dumps(line["record"]["_id"]) for line in lake.lines() if "record" in line]
    assert sorted(told) == sorted(map(text, ids))
    assert lake.cursor.keys() == {"way", "database", "token", "time"}


@pytest.mark.usefixtures("cut_small")
def test_ranges_of_one_type_are_cut_inside_it_and_go_on_behind_any_id(
    server: Server, shop: Database[dict[str, Any]], lake: Lake
) -> None:
    # The stand-in's server does not order binary data of different subtypes.
    ids = [*(id_ for id_ in IDS if id_ != b"xx"), *range(1000, 1050), *map(str, range(50))]
    shop.things.insert_many([{"_id": id_} for id_ in ids])
    run = opened(server)
    try:
        ranges = mongodb_whole.plan(run, THINGS)
        cut = [range_["type"] for range_ in ranges if {"from", "to"} & range_.keys()]
        assert {"number", "string"} <= set(cut) <= {"number", "string", "objectId", "date", "object", "binData"}
        found: list[str] = []
        for range_ in ranges:
            whole = ids_of(run, range_)
            for n, id_ in enumerate(whole):  # as if the run had been killed behind this one
                rest = ids_of(run, {**range_, "after": json.loads(id_)})
                again = "is" in range_ or range_["type"] not in mongodb_whole._ORDERED  # a few documents, read once more
                assert rest == (whole if again else whole[n + 1 :])
            found += whole
        assert sorted(found) == sorted({text(each["_id"]) for each in shop.things.find(projection={"_id": 1})})
    finally:
        run.close()


def opened(server: Server) -> MongoRun:
    run = open_run(SOURCE, Settings.load(server.env), LogProgress())
    assert isinstance(run, MongoRun)
    return run


def ids_of(run: MongoRun, range_: dict[str, Any]) -> list[str]:
    query = mongodb_whole._filter(range_)
    return [
        json.dumps(json.loads(record)["_id"])
        for _, found in mongodb_whole.answers(run, THINGS, query, {"_id": 1}, sort=[("_id", 1)])
        for record in found.records
    ]


def test_changes_and_deletions_are_told_and_an_unchanged_collection_writes_nothing(
    shop: Database[dict[str, Any]], lake: Lake
) -> None:
    shop.things.insert_many([{"_id": n, "v": 1} for n in range(20)])
    assert lake.sync().rows == 20
    assert lake.sync().rows == 0
    for version in range(50):
        shop.things.update_one({"_id": 1}, {"$set": {"v": version}})
    shop.things.replace_one({"_id": 2}, {"w": 1})
    shop.things.delete_many({"_id": {"$in": [3, 4]}})
    shop.things.delete_one({"_id": 5})
    shop.things.insert_one({"_id": 5, "v": "again"})
    shop.things.insert_one({"_id": ObjectId("6b031e51dde05574c84eeeff")})
    done = lake.sync()
    assert done.rows == 6  # each document once, however often it changed
    living = lake.living()
    assert living["1"] == {"_id": 1, "v": 49}
    assert living["2"] == {"_id": 2, "w": 1}
    assert living["5"] == {"_id": 5, "v": "again"}
    assert len(living) == 19
    parts = sum(len(commit.parts) for commit in lake.log.since(0))
    assert lake.sync().rows == 0
    assert sum(len(commit.parts) for commit in lake.log.since(0)) == parts


def test_the_token_of_a_quiet_collection_moves_on(shop: Database[dict[str, Any]], lake: Lake) -> None:
    shop.things.insert_one({"_id": 1})
    lake.sync()
    before = lake.cursor
    shop.others.insert_many([{"_id": n} for n in range(5)])
    done = lake.sync()
    assert done.rows == 0
    assert lake.cursor["token"] != before["token"]
    assert lake.cursor["time"] > before["time"]


@pytest.mark.parametrize("killed", ["whole", "changes"])
def test_a_killed_run_goes_on_where_it_stood(server: Server, shop: Database[dict[str, Any]], lake: Lake, killed: str) -> None:
    if killed == "changes":
        shop.things.insert_one({"_id": -1})
        lake.sync()
    shop.things.insert_many([{"_id": n} for n in range(700)])
    program = f"""
import os, sys
from datalake.lake.objects import Objects
from datalake.lake.raw import RawLog
from datalake.settings import Settings
from datalake.sources import engine, mongodb_changes, mongodb_whole, open_run
from datalake.sources.progress import LogProgress
from datalake_tests.sources.test_mongodb import SOURCE, THINGS

class Killed(LogProgress):
    def reading(self, table_id, *, rows, pages, calls):
        if pages == 3:
            os._exit(9)

engine.COMMIT_BYTES = 1
mongodb_changes.KEYS = 100
mongodb_whole._batch = lambda _run, _table: 100
run = open_run(SOURCE, Settings.load({server.env!r}), Killed())
engine.extract(run, THINGS, RawLog(Objects({lake.log.objects.url!r}), THINGS), run_id="killed", parent=None, progress=Killed())
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    before = sum(commit.rows for commit in lake.log.since(0))
    assert 0 < before < 700
    shop.things.delete_one({"_id": 7})
    again = lake.sync()
    assert again.rows < 700
    assert len(lake.living()) == shop.things.estimated_document_count()


def test_a_lost_cursor_and_a_lost_connection_cost_nothing(
    server: Server, shop: Database[dict[str, Any]], lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongodb_whole, "MOST_DOCUMENTS", 1000)
    shop.things.insert_many([{"_id": n} for n in range(3500)])
    server.control(fail={"mode": {"times": 2}, "data": {"failCommands": ["getMore"], "errorCode": 43}})
    done = lake.sync()
    server.control(fail={"mode": "off"})
    assert done.calls["retries"] == 2
    told = [line["record"]["_id"] for line in lake.lines() if "record" in line]
    assert sorted(told) == list(range(3500))


@pytest.fixture
def forgetful(server: Server) -> Iterator[Callable[[Database[dict[str, Any]]], None]]:
    """A server whose oplog holds hundred entries. The function pushes all out that came before."""
    server.control(restart=["--oplog-max-entries", "100"])

    def forget(database: Database[dict[str, Any]]) -> None:
        database.noise.insert_many([{} for _ in range(2100)])

    yield forget
    server.control(restart=[])


def test_a_lost_token_costs_one_whole_reading(
    forgetful: Callable[[Database[dict[str, Any]]], None], shop: Database[dict[str, Any]], lake: Lake
) -> None:
    shop.things.insert_many([{"_id": n} for n in range(30)])
    lake.sync()
    shop.things.delete_one({"_id": 3})
    shop.things.update_one({"_id": 4}, {"$set": {"v": 1}})
    forgetful(shop)
    done = lake.sync()
    assert any("has forgotten the changes" in note and "read whole" in note for note in done.notes)
    assert any("oplog" in note for note in done.notes)
    assert done.rows == 29
    assert len(lake.living()) == 29
    assert lake.living()["4"] == {"_id": 4, "v": 1}
    assert lake.sync().rows == 0


def test_a_token_that_is_lost_again_ends_the_run(server: Server, shop: Database[dict[str, Any]], lake: Lake) -> None:
    shop.things.insert_one({"_id": 1})
    lake.sync()
    server.control(fail={"mode": "alwaysOn", "data": {"failCommands": ["getMore"], "errorCode": 286}})
    try:
        with pytest.raises(Permanent, match="although it was just read whole"):
            lake.sync()
    finally:
        server.control(fail={"mode": "off"})
    assert sum(line["_lake"].get("op") == "complete" for line in lake.lines()) == 2
    lake.sync()
    assert list(lake.living()) == ["1"]


def test_a_collection_that_vanished_without_a_word_keeps_its_rows(
    forgetful: Callable[[Database[dict[str, Any]]], None], shop: Database[dict[str, Any]], lake: Lake
) -> None:
    shop.things.insert_one({"_id": 1})
    lake.sync()
    shop.things.drop()
    forgetful(shop)
    with pytest.raises(Permanent, match="nobody told that it was dropped"):
        lake.sync()
    assert len(lake.living()) == 1
    lake.sync(full=True)
    assert lake.living() == {}


def test_people_hear_when_the_oplog_gets_too_short(
    forgetful: Callable[[Database[dict[str, Any]]], None], server: Server, shop: Database[dict[str, Any]], lake: Lake
) -> None:
    shop.things.insert_one({"_id": 1})
    forgetful(shop)
    lake.sync()
    time.sleep(2.1)  # the oplog counts seconds
    shop.things.insert_one({"_id": 2})
    run = opened(server)
    try:
        assert run.oplog is not None
        assert run.oplog.full
        assert "it should be a day or more" in identify(SOURCE, Settings.load(server.env))
    finally:
        run.close()
    done = lake.sync()
    assert done.rows == 1
    assert any("hours are waiting, and the server's oplog holds" in note for note in done.notes)


def test_a_dropped_collection_is_told(shop: Database[dict[str, Any]], lake: Lake) -> None:
    shop.things.insert_many([{"_id": n} for n in range(5)])
    lake.sync()
    shop.things.drop()
    shop.things.insert_one({"_id": "new"})
    done = lake.sync()
    assert any("was dropped or renamed" in note for note in done.notes)
    assert list(lake.living()) == ['"new"']
    shop.things.drop()
    lake.sync()
    assert lake.living() == {}


def test_secrets_never_leave_the_server(server: Server, shop: Database[dict[str, Any]]) -> None:
    """Asked of the rows function itself: the engine, which drops them once more, is not between."""
    document = {"_id": 1, "password": "SECRET", "inside": {"token": "SECRET", "kept": 1}, "kept": 2}
    shop.things.insert_one(document)
    run = opened(server)

    def told(cursor: dict[str, Any]) -> bytes:
        items = list(run.rows(Ask(THINGS, cursor, None, False, None, print)))
        return b"".join(record for item in items if isinstance(item, Page) for record in item.records)

    try:
        cursor: dict[str, Any] = {}
        assert told(cursor) == b'{"_id":1,"inside":{"kept":1},"kept":2}'
        lake = Lake(server.env)
        lake.sync()
        shop.things.update_one({"_id": 1}, {"$set": {"password": "SECRET 2", "inside.token": "SECRET 2", "kept": 3}})
        shop.things.insert_one({"_id": 2, "password": "SECRET"})
        assert told(lake.cursor) == b'{"_id":1,"inside":{"kept":1},"kept":3}{"_id":2}'
    finally:
        run.close()


def test_of_the_trash_only_what_its_contract_names_is_read(server: Server) -> None:
    lake = Lake(server.env, SOURCE.tables["trash"])
    lake.sync()
    assert {name for record in lake.living().values() for name in record} == {"_id", "__collection__", "_deletedAt"}


def test_a_stretch_of_the_past_leaves_the_cursor_alone(server: Server) -> None:
    lake = Lake(server.env, SOURCE.tables["users"])
    lake.sync()
    cursor, newest = lake.cursor, max(record["_updatedAt"]["$date"]["$numberLong"] for record in lake.living().values())
    moment = DatetimeMS(int(newest)).as_datetime()
    done = lake.sync(window=Window(moment, moment.replace(year=moment.year + 1)))
    assert done.rows == 1
    assert lake.cursor == cursor
    with pytest.raises(Skipped, match="no timestamp as cursor"):
        Lake(server.env, dataclasses.replace(THINGS, cursor=None)).sync(window=Window(moment, moment))


def test_a_view_is_read_whole_and_told_when_it_changed(shop: Database[dict[str, Any]], server: Server) -> None:
    shop.things.insert_many([{"_id": n, "v": n % 2} for n in range(6)])
    shop.command("create", "odd", viewOn="things", pipeline=[{"$match": {"v": 1}}])
    lake = Lake(server.env, dataclasses.replace(THINGS, path="odd"))
    assert lake.sync().rows == 3
    assert lake.sync().rows == 0
    shop.things.delete_one({"_id": 1})
    lake.sync()
    assert sorted(lake.living()) == ["3", "5"]


def test_another_database_under_the_same_table_is_an_error(shop: Database[dict[str, Any]], lake: Lake) -> None:
    shop.things.insert_one({"_id": 1})
    lake.sync()
    lake.table = dataclasses.replace(THINGS, params=(("database", "rocketchat"),))
    with pytest.raises(Permanent, match="the settings now say rocketchat"):
        lake.sync()


def test_errors_say_what_to_do_and_no_password(server: Server, shop: Database[dict[str, Any]]) -> None:
    host = server.env["MONGODB_URL"].rpartition("@")[2]
    shop.things.insert_one({"_id": 1})
    with pytest.raises(AuthenticationFailed, match="authSource") as refused:
        Lake(server.env | {"MONGODB_URL": f"mongodb://datalake:wrong-password@{host}"}).sync()
    assert "wrong-password" not in str(refused.value)
    server.control(rights=["read@rocketchat"])
    try:
        with pytest.raises(Skipped, match="Grant the role read"):
            Lake(server.env).sync()
    finally:
        server.control(rights=READ)
    with pytest.raises(Transient, match=r"no server answers at 127\.0\.0\.1:1"):
        Lake({"MONGODB_URL": "mongodb://u:hidden-word@127.0.0.1:1/shop?serverSelectionTimeoutMS=200"}).sync()
    with pytest.raises(SettingError, match="MONGODB_URL is no address"):
        Lake({"MONGODB_URL": "postgres://u:hidden-word@127.0.0.1"}).sync()
    with pytest.raises(SettingError, match="MONGODB_DATABASE is not set"):
        Lake({"MONGODB_URL": server.env["MONGODB_URL"]}, SOURCE.tables["users"]).sync()


def test_identify_tells_who_asks_and_what_there_is(server: Server) -> None:
    told = identify(SOURCE, Settings.load(server.env))
    assert "datalake (admin), clusterMonitor on admin" in told
    assert "44 of 44 collections are in rocketchat" in told
    assert "changes are told of the last" in told


def test_a_deletion_holds_the_key_alone(server: Server, shop: Database[dict[str, Any]], lake: Lake) -> None:
    shop.things.insert_one({"_id": {"a": Int64(1)}, "v": 1})
    lake.sync()
    shop.things.delete_one({})
    run = opened(server)
    try:
        items = list(run.rows(Ask(THINGS, lake.cursor, None, False, None, print)))
    finally:
        run.close()
    assert [item.record for item in items if isinstance(item, Deleted)] == [b'{"_id":{"a":{"$numberLong":"1"}}}']


def test_settings_and_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="MONGODB_URL is not set"):
        open_run(SOURCE, Settings.load({}), LogProgress())
