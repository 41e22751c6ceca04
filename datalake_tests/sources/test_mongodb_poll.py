"""MongoDB without change streams: by update fields with an overlap, by the trash, and whole every week."""

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from datalake.sandbox.base import Server, running
from datalake.sandbox.mongodb_server import ADMIN
from datalake_tests.sources.test_mongodb import SOURCE, THINGS, Lake

pytestmark = pytest.mark.slow

THING = dataclasses.replace(THINGS, cursor="_updated_at")
MESSAGES = SOURCE.tables["messages"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("mongodb", seed=7, scale=0.01) as server:
        server.control(restart=["--standalone"], rights=["read@rocketchat", "read@shop"])
        yield server


@pytest.fixture(scope="module")
def admin(server: Server) -> Iterator[MongoClient[dict[str, Any]]]:
    host = server.env["MONGODB_URL"].rpartition("@")[2].partition("/")[0]
    with MongoClient(host, username=ADMIN[0], password=ADMIN[1]) as client:
        yield client


@pytest.fixture
def shop(admin: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    yield admin["shop"]
    admin.drop_database("shop")


@pytest.fixture
def lake(server: Server) -> Lake:
    return Lake(server.env, THING)


def ago(**span: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(**span)


def test_what_changed_is_found_by_the_update_field(shop: Database[dict[str, Any]], lake: Lake) -> None:
    shop.things.insert_many([{"_id": n, "_updatedAt": ago(hours=n)} for n in range(20)])
    lake.sync()
    assert len(lake.living()) == 20
    assert lake.sync().rows == 0
    shop.things.update_one({"_id": 15}, {"$set": {"v": 1, "_updatedAt": ago(seconds=0)}})
    shop.things.insert_one({"_id": "new", "_updatedAt": ago(minutes=10)})  # an application's clock that goes wrong
    assert lake.sync().rows == 2
    assert lake.living()["15"]["v"] == 1
    assert lake.sync().rows == 0


def test_a_document_dated_in_the_future_hides_no_other(shop: Database[dict[str, Any]], lake: Lake) -> None:
    shop.things.insert_many([{"_id": n, "_updatedAt": ago(hours=n)} for n in range(5)])
    lake.sync()
    shop.things.insert_one({"_id": "future", "_updatedAt": ago(days=-4000)})
    assert lake.sync().rows == 1
    shop.things.insert_one({"_id": "now", "_updatedAt": ago(seconds=0)})
    assert lake.sync().rows == 1
    assert lake.sync().rows == 0
    assert len(lake.living()) == 7


def test_documents_without_a_date_are_read_each_time_and_told_when_they_changed(
    shop: Database[dict[str, Any]], lake: Lake
) -> None:
    shop.things.insert_many([{"_id": 1, "_updatedAt": ago(hours=1)}, {"_id": 2}, {"_id": 3, "_updatedAt": "yesterday"}])
    lake.sync()
    assert lake.sync().rows == 0
    shop.things.update_one({"_id": 3}, {"$set": {"v": 2}})
    assert lake.sync().rows == 2
    assert lake.living()["3"]["v"] == 2
    assert lake.sync().rows == 0
    assert sorted(lake.living()) == ["1", "2", "3"]


def test_deletions_are_found_every_week(shop: Database[dict[str, Any]], lake: Lake) -> None:
    shop.things.insert_many([{"_id": n, "_updatedAt": ago(hours=n)} for n in range(5)])
    lake.sync()
    shop.things.delete_one({"_id": 3})
    assert lake.sync().rows == 0
    head = lake.log.head()
    assert head is not None
    old = {**head.cursor, "whole_at": ago(days=8).strftime("%Y-%m-%dT%H:%M:%SZ")}
    assert synced_from(lake, old) in (4, 5)  # the newest one lies in the overlap as well
    assert sorted(lake.living()) == ["0", "1", "2", "4"]
    assert lake.sync().rows == 0


def synced_from(lake: Lake, cursor: dict[str, Any]) -> int:
    """One sync from a cursor that is written into the log as if time had passed."""
    head = lake.log.head()
    assert head is not None
    lake.log.append(
        msgspec.structs.replace(head, sequence=head.sequence + 1, cursor_before=head.cursor, cursor=cursor, parts=(), calls={})
    )
    return lake.sync().rows


def test_rocket_chats_trash_tells_deletions_at_once(server: Server, admin: MongoClient[dict[str, Any]]) -> None:
    lake = Lake(server.env, MESSAGES)
    lake.sync()
    before = len(lake.living())
    database = admin["rocketchat"]
    gone, back = (document["_id"] for document in database.rocketchat_message.find(limit=2))
    for id_ in (gone, back):
        database.rocketchat__trash.insert_one({"_id": id_, "__collection__": "message", "_deletedAt": ago(seconds=0)})
    database.rocketchat_message.delete_one({"_id": gone})  # the other one lives: it was restored
    assert lake.sync().rows == 1
    assert len(lake.living()) == before - 1
    assert json.dumps(gone) not in lake.living()
    assert lake.sync().rows == 0


def test_without_an_update_field_everything_is_compared(shop: Database[dict[str, Any]], server: Server) -> None:
    lake = Lake(server.env, dataclasses.replace(THING, cursor=None))
    shop.things.insert_many([{"_id": n} for n in range(5)])
    assert lake.sync().rows == 5
    assert lake.sync().rows == 0
    shop.things.delete_one({"_id": 2})
    lake.sync()
    assert sorted(lake.living()) == ["0", "1", "3", "4"]


def test_changes_over_days_equal_the_ledger(server: Server) -> None:
    lake = Lake(server.env, SOURCE.tables["rooms"])
    lake.sync()
    server.advance(2)
    lake.sync()
    told = {json.dumps(row.record["_id"]) for row in server.ledger("rooms") if not row.deleted}
    assert set(lake.living()) == told


def test_a_user_who_may_not_open_streams_polls(server: Server) -> None:
    server.control(restart=[])
    try:
        lake = Lake(server.env, SOURCE.tables["rooms"])
        for _ in range(2):
            # The stand-in's server asks nobody for the right to open a stream; this is its refusal of the first command of one.
            server.control(fail={"mode": {"times": 1}, "data": {"failCommands": ["aggregate"], "errorCode": 13}})
            done = lake.sync()
            assert any("no change stream can be opened" in note for note in done.notes)
            assert lake.cursor["way"] == "polling"
        assert done.rows == 0
        lake.sync()
        assert lake.cursor["way"] == "changes"
    finally:
        server.control(restart=["--standalone"])


def test_people_hear_of_a_missing_index(shop: Database[dict[str, Any]], lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datalake.sources.mongodb_poll.CUT_FROM", 3)
    shop.things.insert_many([{"_id": n, "_updatedAt": ago(hours=n)} for n in range(5)])
    assert any("no index begins with _updatedAt" in note for note in lake.sync().notes)
    shop.things.create_index([("_updatedAt", 1)])
    assert lake.sync(full=True).notes == []
