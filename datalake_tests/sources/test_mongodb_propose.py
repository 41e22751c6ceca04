"""A collection without a contract: one is proposed from a sample, and the table that it makes is whole and typed."""

import datetime as dt
import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Timestamp
from click.testing import CliRunner
from pymongo import MongoClient
from pymongo.database import Database

from datalake import contracts
from datalake.cli import main
from datalake.contracts import ContractError
from datalake.contracts.propose import Found, propose
from datalake.lake.lake import Lake
from datalake.lake.register import query_connection
from datalake.pipeline import run_source
from datalake.sandbox.base import Server, running
from datalake.sandbox.mongodb_server import ADMIN
from datalake.settings import SettingError, Settings
from datalake.sources.progress import LogProgress

AT = dt.datetime(2026, 1, 2, 3, 4, 5, 123000, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("mongodb", seed=7, scale=0.01) as server:
        server.control(rights=["read@rocketchat", "read@shop"])
        yield server


@pytest.fixture
def shop(server: Server) -> Iterator[Database[dict[str, Any]]]:
    host = server.env["MONGODB_URL"].rpartition("@")[2].partition("/")[0]
    with MongoClient(host, username=ADMIN[0], password=ADMIN[1]) as client:
        yield client["shop"]
        client.drop_database("shop")


@pytest.fixture
def environment(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The command line's environment, with a folder for the company's contracts."""
    folder = tmp_path / "contracts"
    folder.mkdir()
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATALAKE_CONTRACTS", str(folder))
    monkeypatch.setenv("DATALAKE_URL", str(tmp_path / "lake"))
    forget()
    yield folder
    forget()


def forget() -> None:
    contracts.load.cache_clear()
    contracts.load_source.cache_clear()
    contracts._read.cache_clear()


def order(n: int) -> dict[str, Any]:
    return {
        "_id": ObjectId(f"{n:024x}") if n % 2 else f"{n:024x}",
        "total": Decimal128(f"{n}.50"),
        "count": Int64(n),
        "rate": n / 4 if n % 2 else n,
        "paidAt": AT,
        "customer": ObjectId(f"{n:024x}"),
        "token": "SECRET",
        "card": {"number": "1", "cvc_token": "SECRET"},
        "e-mail": f"pessoa{n}@example.com",
        "tags": ["a", "b"],
        "lines": [{"sku": "x", "at": AT}],
        "key.with.dots": n,
        "uid": Binary(uuid.UUID(int=n).bytes, 4),
        "op": Timestamp(n, 1),
        "state": "open" if n % 5 else 7,
        "nothing": None,
        "updatedAt": AT,
    }


def command(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


def test_a_proposed_contract_reads_its_collection_exactly(environment: Path, shop: Database[dict[str, Any]]) -> None:
    shop["web.orderItems"].insert_many([order(n) for n in range(1, 41)])
    done = command("contract", "propose", "mongodb.web.orderItems", "--database", "shop")
    assert done.exit_code == 0, done.output
    file = environment / "mongodb" / "web__order_items.yaml"
    assert "state: holds string in 32, int64 in 8: kept as json" in done.output
    assert "_id: holds string in 20, string of ObjectId in 20: kept as json" in done.output
    assert "left out as secrets by their names: card.cvc_token, token" in done.output
    assert "SECRET" not in file.read_text() + done.output
    forget()
    source = contracts.load_source("mongodb")
    table = source.tables["web__order_items"]
    assert {column.name: str(column.type) for column in table.columns} == {
        "_id": "json",
        "card": "json",
        "count": "int64",
        "customer": "string",
        "e_mail": "string",
        "key_with_dots": "int64",
        "lines": "json",
        "nothing": "json",
        "op": "struct{t:int64,i:int64}",
        "paid_at": "timestamp",
        "rate": "float64",
        "state": "json",
        "tags": "list<string>",
        "total": "decimal(38,2)",
        "uid": "string",
        "updated_at": "timestamp",
    }
    assert (table.cursor, table.secrets, table.core) == ("updated_at", ("card.cvc_token", "token"), True)
    assert table.column("e_mail").pii == "email"

    settings = Settings.load()
    lake = Lake(settings)
    try:
        for step in run_source(lake, source, [table], run_id="test", progress=LogProgress()):
            assert step.error is None, step.error
            assert step.notes == []
            step.commit()
    finally:
        lake.close()
    connection = query_connection(settings)
    try:
        found = connection.execute("SELECT * FROM mongodb.web__order_items ORDER BY count").to_arrow_table().to_pylist()
    finally:
        connection.close()
    assert len(found) == 40
    for n, row in enumerate(found, 1):
        wanted = f"{n:024x}"
        assert json.loads(row["_id"]) == ({"$oid": wanted} if n % 2 else wanted)
        assert (row["total"], row["count"], row["rate"]) == (Decimal(f"{n}.50"), n, n / 4 if n % 2 else float(n))
        assert row["paid_at"] == AT.replace(tzinfo=None)
        assert (row["customer"], row["uid"], row["op"]) == (wanted, str(uuid.UUID(int=n)), {"t": n, "i": 1})
        assert (row["key_with_dots"], row["tags"], row["nothing"]) == (n, ["a", "b"], None)
        assert json.loads(row["card"]) == {"number": "1"}
        assert json.loads(row["lines"]) == [{"sku": "x", "at": {"$date": {"$numberLong": "1767323045123"}}}]
        assert json.loads(row["state"]) == ("open" if n % 5 else 7)
        assert row["_unmapped"] is None


def test_what_cannot_be_proposed_says_why(environment: Path, shop: Database[dict[str, Any]]) -> None:
    shop.things.insert_one({"_id": 1})
    for arguments, why in (
        (["mongodb.users"], "has a contract: mongodb.users"),
        (["mongodb.nothing_there"], "is empty or missing"),
        (["mongodb.usersSessions"], "holds secrets"),
        (["stripe.charges"], "write mongodb.<collection>"),
    ):
        done = command("contract", "propose", *arguments)
        assert done.exit_code != 0
        assert why in done.output
    assert command("contract", "propose", "mongodb.things", "--database", "shop").exit_code == 0
    again = command("contract", "propose", "mongodb.things", "--database", "shop")
    assert "is there already" in again.output
    elsewhere = environment / "elsewhere.yaml"
    assert command("contract", "propose", "mongodb.things", "--database", "shop", "-o", str(elsewhere)).exit_code == 0
    assert elsewhere.read_text() == (environment / "mongodb" / "things.yaml").read_text()


def test_without_a_folder_the_contract_is_printed(
    environment: Path, shop: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATALAKE_CONTRACTS")
    forget()
    shop.things.insert_one({"_id": 1})
    done = command("contract", "propose", "mongodb.things", "--database", "shop")
    assert done.stdout.startswith("table: things\n")


def test_names_that_fall_together_or_say_nothing_get_columns() -> None:
    fields = {name: {"string": 3} for name in ("_id", "Name", "name", "NAME", "", "ação", "_deleted_at", "1st", "$ref")}
    text = propose(Found("things", "shop", "https://example.com", 3, fields, []), name_database=False).text
    columns = [line.split(":")[0].strip() for line in text.partition("columns:\n")[2].splitlines()]
    assert columns[0] == "_id"
    assert sorted(columns) == sorted(["_id", "name", "name_2", "name_3", "a_o", "_deleted_at_field", "1st", "ref"])


def test_a_companys_contracts_lie_on_top_of_the_lakes(environment: Path) -> None:
    own = environment / "mongodb"
    own.mkdir()
    users = (contracts.FOLDER / "mongodb" / "users.yaml").read_text()
    (own / "users.yaml").write_text(users.replace("about: User accounts, bots and agents.", "about: Our people."))
    head = (contracts.FOLDER / "mongodb" / "_source.yaml").read_text()
    (own / "_source.yaml").write_text(head.replace("product@example.com", "ours@example.com"))
    for source in (contracts.load()["mongodb"], contracts.load_source("mongodb")):
        assert source.tables["users"].about == "Our people."
        assert source.tables["rooms"].business_owner == "ours@example.com"
        assert len(source.tables) == 44


def test_a_folder_of_no_source_and_a_missing_folder_are_errors(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (environment / "mongo").mkdir()
    (environment / "mongo" / "users.yaml").write_text("table: users\n")
    with pytest.raises(ContractError, match=r"mongo/users\.yaml:1: the lake has no source 'mongo'"):
        contracts.load()
    monkeypatch.setenv("DATALAKE_CONTRACTS", str(environment / "gone"))
    forget()
    with pytest.raises(SettingError, match="there is no folder"):
        contracts.load()
