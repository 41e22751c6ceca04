"""Modules and fields that no contract names, from the API through all layers: found, kept with the data, changed, told."""

import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from datalake import contracts
from datalake.assets.source import source_assets
from datalake.assets.specs import RAW_IO, TREATED_IO
from datalake.cli import main
from datalake.io_managers import raw_io_manager, treated_io_manager
from datalake.lake.lake import Lake
from datalake.lake.register import query_connection
from datalake.lake.tables import IllegalChange
from datalake.model import Layer, Table
from datalake.pipeline import ALL_LAYERS, Step, run_source
from datalake.resources import lake_resource
from datalake.sandbox.base import Server, running
from datalake.settings import Settings
from datalake.sources.base import AuthenticationFailed
from datalake.sources.progress import LogProgress
from datalake.status import lake_status
from datalake_tests import oracle

pytestmark = pytest.mark.slow

SOURCE = contracts.load_source("zoho_crm")
TABLES = [SOURCE.tables[name] for name in ("custom_module", "deals")]


def sync(lake: Lake, layers: Sequence[Layer] = ALL_LAYERS) -> list[Step]:
    steps = []
    chosen = {table.name: layers for table in TABLES}
    for step in run_source(lake, SOURCE, TABLES, run_id=uuid.uuid4().hex, layers=chosen, progress=LogProgress()):
        if step.error is None:
            step.commit()
        steps.append(step)
    return steps


def errors(steps: Sequence[Step]) -> dict[str, Exception]:
    return {f"{step.table.name} {step.layer}": step.error for step in steps if step.error}


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Lake, list[set[str]]]]:
    """Two days of an organisation; on the second somebody adds fields, and a module. With the tables found each time."""
    with running("zoho_crm", seed=11, scale=0.2, limits=False) as server:
        lake = Lake(Settings.load({"DATALAKE_URL": str(tmp_path_factory.mktemp("lake")), **server.env}))
        found = []
        try:
            for days in (0, 2):
                server.advance(days)
                assert errors(sync(lake)) == {}
                found.append({table.name for table in lake.found(SOURCE)})
            yield server, lake, found
        finally:
            lake.close()


def tables_found(lake: Lake) -> dict[str, Table]:
    return {table.name: table for table in lake.found(SOURCE)}


def comments(lake: Lake, table: Table) -> dict[str, str]:
    schema = lake.catalog.load_table(table.identifier).schema()
    return {field.name: field.doc or "" for field in schema.fields}


def test_a_module_without_a_contract_is_a_table_with_its_label(road: tuple[Server, Lake, list[set[str]]]) -> None:
    _, lake, found = road
    assert found == [
        {"custom_module7", "obras_x_contatos", "vistorias"},
        {"custom_module7", "obras_x_contatos", "vistorias", "contratos_s_records"},
    ]
    works = tables_found(lake)["custom_module7"]
    assert works.about == "Obras: module CustomModule7 of the CRM."
    assert comments(lake, works)["valor_do_contrato"] == "Valor do contrato"
    assert lake.catalog.load_table(works.identifier).properties["comment"] == works.about


def test_found_tables_equal_the_ledger(road: tuple[Server, Lake, list[set[str]]]) -> None:
    server, lake, _ = road
    for table in tables_found(lake).values():
        told = oracle.expected(SOURCE, table, server.ledger(f"module:{table.path.rpartition('/')[2]}"))
        assert told
        assert oracle.difference(told, oracle.published(lake, table)) == []


def test_a_field_that_was_added_is_a_column_with_its_values(road: tuple[Server, Lake, list[set[str]]]) -> None:
    server, lake, _ = road
    deals = lake.told(SOURCE.tables["deals"])
    assert deals.column("canal_de_origem").about == comments(lake, deals)["canal_de_origem"] == "Canal de origem"
    told = oracle.expected(SOURCE, deals, server.ledger("deals"))
    assert any(row["canal_de_origem"] for row in told.values())
    assert oracle.difference(told, oracle.published(lake, deals)) == []
    works = tables_found(lake)["custom_module7"]
    assert works.column("responsavel_tecnico").about == "Responsável técnico"


def test_found_tables_can_be_asked_for_and_are_in_the_status(road: tuple[Server, Lake, list[set[str]]]) -> None:
    _, lake, _ = road
    connection = query_connection(lake.settings)
    try:
        query = "SELECT count(*), count(valor_do_contrato) FROM zoho_crm.custom_module7 WHERE _deleted_at IS NULL"
        rows, filled = connection.execute(query).fetchall()[0]
        assert rows >= filled > 0
    finally:
        connection.close()
    rows_by_table = {row["table"]: row["rows"] for row in lake_status(lake.settings)}
    assert rows_by_table["zoho_crm.vistorias"]


def test_treating_needs_no_network(road: tuple[Server, Lake, list[set[str]]], tmp_path: Path) -> None:
    server, _, _ = road
    lake = Lake(Settings.load({"DATALAKE_URL": str(tmp_path), **server.env}))
    away = Lake(Settings.load({"DATALAKE_URL": str(tmp_path)}))
    try:
        assert errors(sync(lake, [Layer.RAW])) == {}
        server.calls(clear=True)
        steps = sync(away, [Layer.TREATED, Layer.ATHENA])
        assert errors(steps) == {}
        assert server.calls() == []
        assert {step.table.name for step in steps} >= {"custom_module7", "deals"}
        assert comments(away, SOURCE.tables["deals"])["data_da_visita"] == "Data da visita"
    finally:
        lake.close()
        away.close()


def test_a_field_that_changes_its_type_or_goes_is_told(tmp_path: Path) -> None:
    with running("zoho_crm", seed=12, scale=0.1, limits=False) as server:
        lake = Lake(Settings.load({"DATALAKE_URL": str(tmp_path), **server.env}))
        try:
            sync(lake)
            server.control(remove_field={"module": "Deals", "name": "Data_da_Visita"})
            server.control(remake_field={"module": "CustomModule7", "name": "Andares", "kind": "text"})
            server.advance(1)
            wrong = errors(sync(lake))
            assert set(wrong) == {"custom_module7 treated"}
            assert isinstance(wrong["custom_module7 treated"], IllegalChange)
            assert "column andares is long in the lake, string in the contract" in str(wrong["custom_module7 treated"])
            assert "data_da_visita" in comments(lake, SOURCE.tables["deals"])
            # What the message says to do does it: raw holds all of it.
            lake.catalog.drop_table(("zoho_crm", "custom_module7"))
            assert errors(sync(lake)) == {}
            table = tables_found(lake)["custom_module7"]
            assert str(table.column("andares").type) == "string"
            told = oracle.expected(SOURCE, table, server.ledger("module:CustomModule7"))
            assert oracle.published(lake, table).keys() == told.keys()
        finally:
            lake.close()


def test_a_login_that_is_refused_fails_every_table_with_its_reason(tmp_path: Path) -> None:
    with running("zoho_crm", seed=12, scale=0.1) as server:
        lake = Lake(Settings.load({"DATALAKE_URL": str(tmp_path), **server.env, "ZOHO_CRM_REFRESH_TOKEN": "1000.old"}))
        try:
            steps = sync(lake)
        finally:
            lake.close()
    assert [type(step.error) for step in steps] == [AuthenticationFailed] * len(TABLES)


def test_dagster_is_told_of_found_tables_by_the_run_that_found_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = SOURCE.tables["custom_module"]
    with running("zoho_crm", seed=12, scale=0.1, limits=False) as server, dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.setenv("DATALAKE_URL", str(tmp_path))
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        definitions = dg.Definitions(
            assets=[source_assets(SOURCE, [table], Settings.load({}))],
            resources={"lake": lake_resource, RAW_IO: raw_io_manager, TREATED_IO: treated_io_manager},
            executor=dg.in_process_executor,
        )
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
        assert result.success
        key = dg.AssetKey(["zoho_crm", "custom_module7"])
        told = instance.get_latest_materialization_event(key)
        assert told is not None
        assert told.asset_materialization is not None
        facts: dict[str, Any] = {name: each.value for name, each in told.asset_materialization.metadata.items()}
        living = sum(not row.deleted for row in server.ledger("module:CustomModule7"))
        assert facts["rows_inserted"] == facts["dagster/row_count"] == living
        columns = {column.name: column.description for column in facts["dagster/column_schema"].columns}
        assert columns["valor_do_contrato"] == "Valor do contrato"
        for layer in ("raw_custom_module7", "athena_custom_module7"):
            assert instance.get_latest_materialization_event(dg.AssetKey(["zoho_crm", layer])) is not None


def test_describe_shows_what_was_found(
    road: tuple[Server, Lake, list[set[str]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def columns(table: str) -> dict[str, str]:
        told = CliRunner().invoke(main, ["describe", f"zoho_crm.{table}", "--json"])
        assert told.exit_code == 0, told.output
        return {column["name"]: column["about"] for column in json.loads(told.output)["columns"]}

    monkeypatch.setenv("DATALAKE_URL", road[1].settings.lake_url)
    assert columns("deals")["data_da_visita"] == "Data da visita"
    assert columns("vistorias")["nota"] == "Nota"
    monkeypatch.setenv("DATALAKE_URL", str(tmp_path / "none"))
    assert "data_da_visita" not in columns("deals")
    assert not (tmp_path / "none").exists()
