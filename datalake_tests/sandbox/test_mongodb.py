"""The stand-in for MongoDB: a made-up workspace that is always the same, behind a server that asks who is there."""

import os
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from pymongo import MongoClient, errors

from datalake import contracts
from datalake.sandbox.base import Server, running
from datalake.sandbox.mongodb_workspace import Workspace, Write

SOURCE = contracts.load_source("mongodb")
NOW = 1_795_036_000
DAY = 86_400


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return Workspace(SOURCE, 3, 0.1, NOW)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("mongodb", seed=3, scale=0.02, now=NOW) as server:
        yield server


def test_the_same_seed_makes_the_same_workspace_and_days() -> None:
    first, second, other = (Workspace(SOURCE, seed, 0.05, NOW) for seed in (5, 5, 6))
    assert first.living == second.living
    assert first.living != other.living
    assert list(first.pass_days(2 * DAY)) == list(second.pass_days(2 * DAY))
    assert (first.living, first.gone) == (second.living, second.gone)


def test_at_scale_one_it_stays_small() -> None:
    documents = sum(map(len, Workspace(SOURCE, 1, 1.0, NOW).living.values()))
    assert 3_000 < documents < 4_500


def test_every_table_has_documents_and_secrets_where_its_contract_names_them(workspace: Workspace) -> None:
    assert all(len(documents) >= 6 for documents in workspace.living.values())
    for table in SOURCE.tables.values():
        if table.secrets and table.name != "trash":
            assert all("SECRET" in str(document) for document in workspace.living[table.name].values()), table.name


def test_what_a_document_points_at_is_there(workspace: Workspace) -> None:
    for table in SOURCE.tables.values():
        for column in table.columns:
            if not column.refers or table.name == "trash":
                continue
            for document in workspace.living[table.name].values():
                value: Any = document
                for step in column.field:
                    value = value.get(step) if isinstance(value, dict) else None
                assert value is None or value in workspace.living[column.refers[1]], f"{table.id}.{column.name}"


def test_ids_are_of_rocket_chats_kinds(workspace: Workspace) -> None:
    ids = list(workspace.living["messages"])
    assert {len(id_) for id_ in ids} == {17, 24}
    assert "GENERAL" in workspace.living["rooms"]


def test_days_bring_documents_changes_and_deletions_to_every_table() -> None:
    workspace = Workspace(SOURCE, 3, 0.1, NOW)
    writes = list(workspace.pass_days(DAY))

    def tables(wanted: Any) -> set[str]:
        return {write.table.name for write in writes if wanted(write)}

    def inserted(write: Write) -> bool:
        return write.before is None

    every = set(SOURCE.tables)
    assert tables(inserted) == every
    assert tables(lambda write: write.after is None) == every
    assert tables(lambda write: write.before and write.after) >= every - {
        "statistics",
        "read_receipts",
        "server_events",
        "trash",
    }
    for write in writes:
        if write.before and write.after and "_updatedAt" in write.before and write.table.name != "trash":
            assert write.after["_updatedAt"] > write.before["_updatedAt"]


def test_what_is_deleted_lies_in_the_trash_first() -> None:
    workspace = Workspace(SOURCE, 3, 0.1, NOW)
    writes = list(workspace.pass_days(DAY))
    for place, write in enumerate(writes):
        if write.after is None and write.table.name == "messages":
            before = writes[place - 1]
            assert (before.table.name, before.id) == ("trash", write.id)
            assert before.after is not None
            assert before.after["__collection__"] == "message"


def client(server: Server, url: str = "") -> MongoClient[dict[str, Any]]:
    return MongoClient(url or server.env["MONGODB_URL"], serverSelectionTimeoutMS=3000)


def test_the_server_holds_what_the_ledger_tells(server: Server) -> None:
    server.advance(1)
    with client(server) as reader:
        for table in SOURCE.tables.values():
            told = {row.record["_id"]: row for row in server.ledger(table.name)}
            found = {document["_id"]: document for document in reader.rocketchat[table.path].find()}
            assert set(found) == {id_ for id_, row in told.items() if not row.deleted}, table.name
            assert all(found[id_].keys() == told[id_].record.keys() for id_ in found)
    [file] = server.ledger("messages")[0].record["attachments"]
    assert (file["ts"].keys(), file["ref"].keys()) == ({"$date"}, {"$oid"})


def test_only_who_proves_it_may_read_and_nobody_writes(server: Server) -> None:
    host = server.env["MONGODB_URL"].rpartition("@")[2]
    with client(server, f"mongodb://{host}") as nobody, pytest.raises(errors.OperationFailure):
        nobody.rocketchat.users.find_one()
    with client(server, f"mongodb://datalake:wrong@{host}") as wrong, pytest.raises(errors.OperationFailure):
        wrong.rocketchat.users.find_one()
    with client(server) as reader:
        assert reader.rocketchat.users.find_one()
        with pytest.raises(errors.OperationFailure, match="not authorized"):
            reader.rocketchat.users.insert_one({})


def test_an_unknown_control_is_refused(server: Server) -> None:
    with pytest.raises(OSError, match="400"):
        server.control(nonsense=1)


def test_the_server_ends_with_its_stand_in() -> None:
    with running("mongodb", seed=3, scale=0.01, now=NOW):
        [stand_in] = [child for child in psutil.Process(os.getpid()).children() if "0.01" in child.cmdline()]
        below = stand_in.children(recursive=True)
        assert any("secantus" in child.cmdline() for child in below)
        stand_in.kill()
        for _ in range(100):
            if not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in below):
                break
            time.sleep(0.1)
        assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in below)
