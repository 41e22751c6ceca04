"""Tables follow their contracts, as far as Iceberg allows, and say so where it does not."""

import dataclasses

import pytest

from datalake.lake.lake import Lake
from datalake.lake.sql import columns, duckdb_type, relation
from datalake.lake.tables import IllegalChange
from datalake_tests.lake.build import COLUMNS, ask, column, fingerprint, merge, table


def test_a_table_is_its_contract(lake: Lake) -> None:
    charges = table(partition="at")
    lake.ensure_table(charges)
    made = lake.catalog.load_table(charges.identifier)
    described = ask(lake, f"SELECT column_name, column_type FROM (DESCRIBE {relation(charges)})")
    wanted = [(name, duckdb_type(type_).replace('"', "")) for name, type_ in columns(charges).items()]
    assert described == wanted
    assert made.schema().find_field("amount").doc == "What amount is."
    assert made.schema().find_field("_deleted_at").doc
    assert made.schema().identifier_field_names() == {"id"}
    assert [(str(f.transform), f.name) for f in made.spec().fields] == [("month", "at_month")]
    assert made.format_version == 2
    assert made.properties["comment"] == charges.about
    assert made.properties["datalake.owner.business"] == "finance@example.com"
    assert made.properties["datalake.classification"] == "confidential"
    assert made.properties["datalake.key"] == "id"


def test_nothing_is_committed_when_nothing_differs(lake: Lake) -> None:
    lake.ensure_table(table())
    before = lake.catalog.load_table(table().identifier).metadata_location
    lake.ensure_table(table())
    assert lake.catalog.load_table(table().identifier).metadata_location == before


def test_legal_changes_keep_the_rows(lake: Lake) -> None:
    old = table(columns=COLUMNS)
    lake.ensure_table(old)
    merge(lake, old, 0, 10)
    rows = ask(lake, f"SELECT id, amount, lines, address.city FROM {relation(old)} ORDER BY id")
    changed = COLUMNS | {
        "amount": "decimal(30,2)",
        "lines": "list<struct{sku:string,quantity:int64,price:decimal(30,10),tax:decimal(10,2)}>",
        "address": "struct{city:string,geo:struct{lat:float64,lon:float64},country:string}",
        "added": "list<string>",
    }
    new = table(columns=changed, about="Another description.")
    new = dataclasses.replace(
        new, columns=tuple(dataclasses.replace(c, about="New words.") if c.name == "paid" else c for c in new.columns)
    )
    lake.ensure_table(new)
    made = lake.catalog.load_table(new.identifier)
    assert made.schema().find_field("paid").doc == "New words."
    assert made.properties["comment"] == "Another description."
    assert str(made.schema().find_type("amount")) == "decimal(30, 2)"
    connection = lake.connect()
    connection.execute(f"INSERT INTO {relation(new)} (id, amount, added) VALUES ('new', 12345678901234567890.12, ['x'])")
    after = ask(lake, f"SELECT id, amount, lines, address.city FROM {relation(new)} WHERE id <> 'new' ORDER BY id")
    assert [
        (i, a, [{k: line[k] for k in ("sku", "quantity", "price")} for line in lines], c) for i, a, lines, c in after
    ] == rows
    assert ask(lake, f"SELECT address.country, address.geo.lon, added FROM {relation(new)} WHERE id = 'k1'") == [(None,) * 3]
    merge(lake, new, 0, 10, 1)
    assert fingerprint(lake, new)[:2] == (11, 11)


def test_int_becomes_long_where_another_engine_made_it_int(lake: Lake) -> None:
    from pyiceberg.schema import Schema
    from pyiceberg.types import IntegerType, NestedField, StringType

    lake.catalog.create_namespace("stripe")
    schema = Schema(
        NestedField(1, "id", StringType(), required=True), NestedField(2, "n", IntegerType()), identifier_field_ids=[1]
    )
    lake.catalog.create_table("stripe.charges", schema)
    lake.ensure_table(table(columns={"id": "string", "n": "int64"}))
    assert str(lake.catalog.load_table("stripe.charges").schema().find_type("n")) == "long"


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "decimal(18,4)"},
        {"amount": "decimal(10,2)"},
        {"amount": "string"},
        {"rate": "int64"},
        {"day": "timestamp"},
        {"meta": "int64"},
        {"address": "string"},
        {"lines": "list<struct{sku:int64,quantity:int64,price:decimal(20,10)}>"},
        {"lines": "list<struct{sku:string,quantity:int64,price:decimal(20,8)}>"},
    ],
)
def test_illegal_changes_are_refused_whole(lake: Lake, change: dict[str, str]) -> None:
    lake.ensure_table(table())
    before = lake.catalog.load_table(table().identifier).metadata_location
    with pytest.raises(IllegalChange, match=r"stripe\.charges.*is .* in the lake.*Give the column a new name"):
        lake.ensure_table(table(columns=COLUMNS | {"first": "string"} | change))
    assert lake.catalog.load_table(table().identifier).metadata_location == before


@pytest.mark.parametrize("change", [{"key": ("id", "day")}, {"partition": "at"}])
def test_another_key_or_partition_asks_for_a_new_build(lake: Lake, change: dict[str, object]) -> None:
    lake.ensure_table(table())
    with pytest.raises(IllegalChange, match=r"Drop stripe\.charges from the catalog"):
        lake.ensure_table(table(**change))


def test_a_column_that_the_contract_dropped_stays(lake: Lake) -> None:
    lake.ensure_table(table())
    merge(lake, table(), 0, 3)
    smaller = table(columns={name: type_ for name, type_ in COLUMNS.items() if name != "paid"})
    lake.ensure_table(smaller)
    assert ask(lake, f"SELECT count(paid) FROM {relation(smaller)}") == [(3,)]


def test_awkward_names_are_quoted_everywhere(lake: Lake) -> None:
    odd = table("select", {"id": "string", "order": "int64", "at": "timestamp", "group": "struct{from:string,to:string}"})
    odd = dataclasses.replace(odd, columns=(*odd.columns, column("percent", "float64", about='50 % of it\'s "worth"')))
    lake.ensure_table(odd)
    ask(lake, f"INSERT INTO {relation(odd)} (id, \"order\", \"group\") VALUES ('a', 1, {{'from': 'x', 'to': 'y'}})")
    assert ask(lake, f'SELECT "group"."from", "order" FROM {relation(odd)}') == [("x", 1)]
