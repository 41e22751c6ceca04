"""What a source told of its tables beyond their contracts: how it is kept with the raw data, and taken up from there."""

from dataclasses import replace
from pathlib import Path

import msgspec

from datalake import contracts
from datalake.lake.lake import Lake
from datalake.lake.raw import Commit, now
from datalake.lake.told import Told, ToldColumn, as_told, table_like, told
from datalake.model import Column, Table, parse_type
from datalake.settings import Settings

SOURCE = contracts.load_source("zoho_crm")
DEALS = SOURCE.tables["deals"]
FOUND = Column("visita", parse_type("decimal(9,4)"), "Data da visita", ("Visita",), pii="free_text", mask="hide")


def with_column(table: Table, column: Column) -> Table:
    return replace(table, columns=(*table.columns, column))


def test_what_was_told_comes_back_as_it_was() -> None:
    wider = with_column(DEALS, FOUND)
    kept = msgspec.json.decode(msgspec.json.encode(told(DEALS, wider)), type=Told)
    assert as_told(DEALS, kept) == wider
    assert told(DEALS, DEALS) is None
    assert as_told(DEALS, None) is DEALS


def test_a_column_that_nobody_classified_is_restricted() -> None:
    (column,) = as_told(replace(DEALS, columns=()), Told((ToldColumn("x", "string", ("X",), "X"),))).columns
    assert str(column.classification) == "restricted"
    assert column.nullable


def test_a_contract_that_names_the_column_later_wins() -> None:
    kept = told(DEALS, with_column(DEALS, FOUND))
    same_name = with_column(DEALS, replace(FOUND, about="By the contract."))
    assert as_told(same_name, kept) == same_name
    same_field = with_column(DEALS, replace(FOUND, name="visited_on"))
    assert as_told(same_field, kept) == same_field


def test_a_table_without_a_contract_is_made_after_one() -> None:
    template = SOURCE.tables["custom_module"]
    found = with_column(
        replace(template, name="obras", like="custom_module", about="Obras", path="/crm/v8/CustomModule7"), FOUND
    )
    kept = told(template, found)
    assert kept is not None
    assert replace(table_like(template, "obras", kept), rows=found.rows) == found


def test_tables_are_found_by_what_was_read(tmp_path: Path) -> None:
    lake = Lake(Settings.load({"DATALAKE_URL": str(tmp_path)}))
    assert lake.found(SOURCE) == []

    def commit(name: str, what: Told | None) -> None:
        lake.log(replace(DEALS, name=name)).append(Commit(1, "zoho_crm", name, "run", "sync", now(), now(), told=what))

    commit("deals", told(DEALS, with_column(DEALS, FOUND)))
    commit("obras", Told((), "custom_module", "Obras", "/crm/v8/CustomModule7"))
    commit("left_over", None)
    commit("of_another_contract", Told((), "no_contract", "?", "/x"))
    assert [(table.name, table.about, table.like) for table in lake.found(SOURCE)] == [("obras", "Obras", "custom_module")]
    assert lake.as_read(DEALS).column("visita") == FOUND
    assert lake.told(DEALS) == DEALS, "nothing of it is published yet"
    lake.close()


def test_commits_from_before_are_read(tmp_path: Path) -> None:
    lake = Lake(Settings.load({"DATALAKE_URL": str(tmp_path)}))
    at = now()
    lake.log(DEALS).append(Commit(1, "zoho_crm", "deals", "run", "sync", at, at))
    text = next(Path(tmp_path).rglob("commits/*.json")).read_text()
    assert "told" not in text
    head = lake.log(DEALS).head()
    assert head is not None
    assert head.told is None
