"""What a contract may say, and how a mistake in it is told: file, line, field, and what to write instead."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from datalake import contracts
from datalake.contracts import ContractError
from datalake.model import Classification, Source, Table, Type

SOURCE = """\
source: shop
title: Shop
about: What people buy.
doc: https://shop.example/docs
base_url: https://api.shop.example
cadence: 5 * * * *
timestamps: seconds
records: data
ignore: ["*_url"]
technical_owner: data@example.com
business_owner: sales@example.com
"""
CUSTOMERS = """\
table: customers
doc: https://shop.example/docs/customers
about: One row per customer.
tier: core
rows: full_list
key: [id]
class: confidential
columns:
  id: {type: string, null: no}
  email: {type: string, pii: email}
"""
ORDERS = """\
table: orders
doc: https://shop.example/docs/orders
about: One row per order.
tier: core
path: /v1/orders
params: {limit: 100, "expand[]": [data.lines, data.notes]}
rows: created_window
key: [id]
cursor: created
partition: month(created)
class: internal
secrets: [client_secret, lines.*.token]
ignore: [legacy]
columns:
  id: {type: string, null: no, about: Number of the order.}
  created: {type: timestamp, null: no}
  amount: {type: "decimal(18,2)", unit: minor units of currency}
  currency: {type: string}
  customer: {type: string, refers: customers.id}
  shop: {type: string, from: $request.shop}
  city: {type: string, from: ship.to.city, pii: address}
  plus_one: {type: int64, from: ["a.b", "+1"]}
  status: {type: string, values: [open, closed]}
"""


def lay(folder: Path, orders: str = ORDERS, customers: str = CUSTOMERS, source: str = SOURCE) -> Path:
    shop = folder / "shop"
    shop.mkdir()
    (shop / "_source.yaml").write_text(source)
    (shop / "customers.yaml").write_text(customers)
    (shop / "orders.yaml").write_text(orders)
    return folder


def orders(folder: Path, text: str = ORDERS) -> Table:
    return contracts.load_folder(lay(folder, text))["shop"].tables["orders"]


def test_a_contract_becomes_one_frozen_table(tmp_path: Path) -> None:
    source: Source = contracts.load_folder(lay(tmp_path))["shop"]
    table = source.tables["orders"]
    assert (source.title, source.cadence, source.timestamps) == ("Shop", "5 * * * *", "seconds")
    assert table.id == "shop.orders"
    assert table.params == (("limit", "100"), ("expand[]", "data.lines"), ("expand[]", "data.notes"))
    assert (table.records, table.ignore) == ("data", ("*_url", "legacy"))
    assert (table.cursor, table.partition, table.key) == ("created", "created", ("id",))
    assert (table.technical_owner, table.business_owner, table.fresh_within_hours) == (
        "data@example.com",
        "sales@example.com",
        26.0,
    )
    with pytest.raises(AttributeError):
        table.name = "other"  # type: ignore[misc]  # that is the point


def test_columns_know_where_their_value_stands(tmp_path: Path) -> None:
    table = orders(tmp_path)
    assert table.column("id").field == ("id",)
    assert table.column("city").field == ("ship", "to", "city")
    assert table.column("plus_one").field == ("a.b", "+1")
    assert (table.column("shop").field, table.column("shop").from_request) == (("shop",), True)
    assert table.column("amount").type == Type("decimal", 18, 2)
    assert table.column("customer").refers == ("shop", "customers", "id")
    assert table.column("status").values == ("open", "closed")
    assert [column.name for column in table.columns if not column.nullable] == ["id", "created"]


def test_every_column_has_a_class(tmp_path: Path) -> None:
    table = orders(tmp_path, ORDERS.replace("status: {type: string", "status: {type: string, class: public"))
    classes = {column.name: column.classification for column in table.columns}
    assert classes["amount"] is Classification.INTERNAL, "the table's word holds for a column that says nothing"
    assert classes["city"] is Classification.RESTRICTED, "personal data is restricted"
    assert classes["status"] is Classification.PUBLIC
    stated = ORDERS.replace("pii: address}", "pii: address, class: confidential}")
    (tmp_path / "other").mkdir()
    assert orders(tmp_path / "other", stated).column("city").classification is Classification.CONFIDENTIAL


@pytest.mark.parametrize(
    "line, mask",
    [
        ("{type: string, pii: email}", "hmac"),
        ("{type: json, pii: email}", "hide"),
        ("{type: string, pii: free_text}", "hide"),
        ("{type: string, pii: free_text, mask: hmac}", "hmac"),
        ("{type: string}", None),
    ],
)
def test_the_mask_follows_from_the_kind_of_personal_data(tmp_path: Path, line: str, mask: str | None) -> None:
    assert orders(tmp_path, ORDERS + f"  extra: {line}\n").column("extra").mask == mask


def test_a_word_that_yaml_takes_for_something_else_stays_a_word(tmp_path: Path) -> None:
    table = orders(tmp_path, ORDERS.replace("[open, closed]", "[on, no, 0123, 1e3, null, ~]"))
    assert table.column("status").values == ("on", "no", "0123", "1e3", "null", "~")


def test_owners_and_freshness_of_a_table_win_over_those_of_the_source(tmp_path: Path) -> None:
    source = SOURCE + "fresh_within_hours: 4\n"
    changed = ORDERS.replace("columns:", "owners: {business: risk@example.com}\ncolumns:", 1)
    tables = contracts.load_folder(lay(tmp_path, changed, source=source))["shop"].tables
    assert (tables["orders"].technical_owner, tables["orders"].business_owner) == ("data@example.com", "risk@example.com")
    assert tables["customers"].fresh_within_hours == 4


def test_a_table_without_key_says_why(tmp_path: Path) -> None:
    assert orders(tmp_path, ORDERS.replace("key: [id]", "no_key: Rows are never updated.")).no_key == "Rows are never updated."


def swap(old: str, new: str) -> str:
    assert ORDERS.count(old) == 1, old
    return ORDERS.replace(old, new)


MISTAKES = {
    "unknown head key": (swap("tier: core", "tier: core\ncolour: red"), 5, "colour", "is no key of a contract"),
    "unknown column key": (swap("about: Number", "colour: Number"), 15, "columns.id.colour", "is no key of a contract"),
    "head key twice": (swap("tier: core", "tier: core\ntier: core"), 5, "tier", "stands twice"),
    "column twice": (ORDERS + "  id: {type: string}\n", 24, "columns.id", "stands twice"),
    "column key twice": (
        swap("{type: timestamp,", "{type: date, type: timestamp,"),
        16,
        "columns.created.type",
        "stands twice",
    ),
    "missing about": (swap("about: One row per order.\n", ""), 1, "about", "is missing"),
    "empty about": (swap("about: One row per order.", 'about: ""'), 3, "about", "is empty"),
    "missing class": (swap("class: internal\n", ""), 1, "class", "is missing"),
    "no columns": (ORDERS[: ORDERS.index("columns:")] + "columns: {}\n", 14, "columns", "is empty"),
    "list for a text": (swap("about: One row per order.", "about: [a, b]"), 3, "about", "is a list or a mapping"),
    "text for a list": (swap("key: [id]", "key: id"), 8, "key", "is no list"),
    "list in a list": (swap("key: [id]", "key: [[id]]"), 8, "key", "holds something that is no text"),
    "same twice in a list": (swap("key: [id]", "key: [id, id]"), 8, "key", "names something twice"),
    "column is no mapping": (swap("{type: string, values: [open, closed]}", "string"), 23, "columns.status", "is no mapping"),
    "params no mapping": (swap('{limit: 100, "expand[]": [data.lines, data.notes]}', "all"), 6, "params", "is no mapping"),
    "type": (swap("type: timestamp", "type: datetime"), 16, "columns.created.type", "'datetime' is no type"),
    "type missing": (swap("type: timestamp, ", ""), 16, "columns.created.type", "is missing"),
    "class": (swap("class: internal", "class: secret"), 11, "class", "'secret' is unknown; use public, internal,"),
    "column class": (swap("pii: address", "class: hidden"), 21, "columns.city.class", "'hidden' is unknown"),
    "pii": (swap("pii: address", "pii: street"), 21, "columns.city.pii", "'street' is unknown; use name, email,"),
    "open pii": (
        swap("pii: address", "pii: address, class: internal"),
        21,
        "columns.city.class",
        "personal data is not internal",
    ),
    "mask": (swap("pii: address", "pii: address, mask: blur"), 21, "columns.city.mask", "'blur' is unknown"),
    "tier": (swap("tier: core", "tier: gold"), 4, "tier", "'gold' is unknown; use core, extended"),
    "doc": (swap("https://shop.example/docs/orders", "see the wiki"), 2, "doc", "does not fit"),
    "rows": (swap("created_window", "created window"), 7, "rows", "does not fit"),
    "null": (swap("timestamp, null: no", "timestamp, null: never"), 16, "columns.created.null", "'never' is unknown"),
    "null twice meant": (
        swap("timestamp, null: no", "timestamp, null: false"),
        16,
        "columns.created.null",
        "'false' is unknown",
    ),
    "no such table": (swap("customers.id", "clients.id"), 19, "columns.customer.refers", "there is no table 'shop.clients'"),
    "no such column": (
        swap("customers.id", "customers.uid"),
        19,
        "columns.customer.refers",
        "has no column 'uid'; use id, email",
    ),
    "no such source": (swap("customers.id", "till.customers.id"), 19, "columns.customer.refers", "no table 'till.customers'"),
    "other type": (swap("customer: {type: string", "customer: {type: int64"), 19, "columns.customer.refers", "is int64, and"),
    "reference form": (swap("customers.id", "customers"), 19, "columns.customer.refers", "does not fit"),
    "key is no column": (swap("key: [id]", "key: [number]"), 8, "key", "'number' is no column"),
    "key may be empty": (swap("key: [id]", "key: [status]"), 8, "key", "'status' may be empty"),
    "no key": (swap("key: [id]\n", ""), 1, "key", "is missing"),
    "key and no key": (swap("key: [id]", "key: [id]\nno_key: none"), 9, "no_key", "stands beside key"),
    "cursor": (swap("cursor: created", "cursor: updated"), 9, "cursor", "'updated' is no column"),
    "partition form": (swap("month(created)", "year(created)"), 10, "partition", "does not fit"),
    "partition column": (swap("month(created)", "month(updated)"), 10, "partition", "'updated' is no column"),
    "partition date": (swap("month(created)", "month(amount)"), 10, "partition", "is no timestamp or date but decimal(18,2)"),
    "parent": (swap("class: internal", "parent: baskets\nclass: internal"), 11, "parent", "shop has no table 'baskets'"),
    "also": (swap("class: internal", "also: [baskets]\nclass: internal"), 11, "also", "shop has no table 'baskets'"),
    "own parent": (swap("class: internal", "parent: orders\nclass: internal"), 11, "parent", "is driven by itself"),
    "file name": (swap("table: orders", "table: order"), 1, "table", "'order' lies in orders.yaml"),
    "long head": (
        swap("class: internal", "class: internal\nparent: customers\ndeletes: never\nnote: none"),
        1,
        "table",
        "the head has 16 keys",
    ),
    "column name": (swap("  status:", "  orderStatus:"), 23, "columns.orderStatus", "write order_status"),
    "system column": (swap("  status:", "  _deleted_at:"), 23, "columns._deleted_at", "is the name of a system column"),
    "same field": (swap("from: ship.to.city", "from: status"), 23, "columns.status", "same field as city"),
    "needless from": (
        swap("{type: string, values", "{type: string, from: status, values"),
        23,
        "columns.status.from",
        "leave it out",
    ),
    "hole in from": (swap("ship.to.city", "ship..city"), 21, "columns.city.from", "has an empty part"),
    "secret column": (
        swap("secrets: [client_secret", "secrets: [status, client_secret"),
        23,
        "columns.status",
        "is among the secrets",
    ),
    "currency": (swap("of currency", "of money"), 17, "columns.amount", "'money', which is no column"),
    "time unit": (
        swap("{type: timestamp,", "{type: timestamp, unit: days,"),
        16,
        "columns.created.unit",
        "is no unit of a timestamp",
    ),
    "owner": (swap("class: internal", "owners: {business: somebody}\nclass: internal"), 11, "owners.business", "does not fit"),
    "hours": (swap("class: internal", "fresh_within_hours: soon\nclass: internal"), 11, "fresh_within_hours", "does not fit"),
    "unquoted comma": (swap('"decimal(18,2)"', "decimal(18,2)"), 17, "columns.amount.2)", "quote the text before it"),
    "broken yaml": (swap("about: One row per order.", "about: One: row: per"), 3, "", "quote texts"),
}
BEYOND_A_SCHEMA = {
    "head key twice", "column twice", "column key twice", "missing about", "no such table", "no such column", "no such source",
    "other type", "key is no column", "key may be empty", "cursor", "partition column", "partition date", "parent", "also",
    "own parent", "file name", "system column", "same field", "needless from", "hole in from", "secret column", "open pii",
    "currency", "time unit", "broken yaml",
}  # fmt: skip
"""Mistakes that need another line, another file, or the text itself to be seen."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_file_line_and_field(tmp_path: Path, mistake: str) -> None:
    text, line, field, what = MISTAKES[mistake]
    with pytest.raises(ContractError) as caught:
        contracts.load_folder(lay(tmp_path, text))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'shop' / 'orders.yaml'}:{line}: {field}"), message
    assert what in message
    assert "; " in message, "what to write instead"


@pytest.mark.parametrize("mistake", sorted(set(MISTAKES) - BEYOND_A_SCHEMA))
def test_the_editor_sees_the_mistake_too(mistake: str) -> None:
    schema = json.loads((contracts.FOLDER / "contract.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(yaml.load(ORDERS, yaml.CBaseLoader))
    assert not validator.is_valid(yaml.load(MISTAKES[mistake][0], yaml.CBaseLoader))


@pytest.mark.parametrize(
    "old, new, line, what",
    [
        ("source: shop", "source: till", 1, "'till' lies in the folder 'shop'"),
        ("timestamps: seconds", "timestamps: days", 7, "'days' is unknown; use seconds, milliseconds"),
        ("cadence: 5 * * * *", "cadence: hourly", 6, "write five fields of cron"),
        ("https://api.shop.example", "http://api.shop.example", 5, "does not fit"),
        ("technical_owner: data@example.com\n", "", 1, "technical_owner: is missing"),
        ("title: Shop", "titel: Shop", 2, "titel: is no key of a contract; use source, title"),
    ],
)
def test_a_mistake_in_the_source_is_told_likewise(tmp_path: Path, old: str, new: str, line: int, what: str) -> None:
    with pytest.raises(ContractError) as caught:
        contracts.load_folder(lay(tmp_path, source=SOURCE.replace(old, new)))
    assert str(caught.value).startswith(f"{tmp_path / 'shop' / '_source.yaml'}:{line}: ")
    assert what in str(caught.value)


def test_an_empty_file_and_a_file_that_is_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"orders\.yaml:1: the file is empty"):
        contracts.load_folder(lay(tmp_path, "# nothing\n"))
    (tmp_path / "shop" / "orders.yaml").write_bytes(b"table: \xff\xfe\n")
    with pytest.raises(ContractError, match=r"orders\.yaml:1: .*write YAML in UTF-8"):
        contracts.reading.read_source(tmp_path / "shop")


def test_a_circle_of_parents_is_told(tmp_path: Path) -> None:
    first = swap("class: internal", "parent: customers\nclass: internal")
    second = CUSTOMERS.replace("class:", "parent: orders\nclass:")
    with pytest.raises(ContractError, match=r"parent: is driven by itself: customers ← orders ← customers"):
        contracts.load_folder(lay(tmp_path, first, second))


def test_an_unknown_source_is_told() -> None:
    with pytest.raises(KeyError, match="no source is called 'shop'; there are clickup"):
        contracts.load_source("shop")
