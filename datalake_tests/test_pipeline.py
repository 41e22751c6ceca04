"""The whole road: stand-in, raw, treated, registered; twice, with changes and deletions between."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from datalake import contracts
from datalake.lake.lake import Lake
from datalake.lake.register import query_connection
from datalake.model import Layer, Source, Table
from datalake.pipeline import ParentFailed, Step, run_source
from datalake.sandbox.base import Server, running
from datalake.settings import Settings
from datalake.sources.base import Skipped
from datalake.sources.progress import LogProgress
from datalake_tests import oracle


def core(source: Source) -> list[Table]:
    return [table for table in source.tables.values() if table.core]


def sync(lake: Lake, source: Source, tables: list[Table]) -> list[Step]:
    steps = []
    for step in run_source(lake, source, tables, run_id=uuid.uuid4().hex, progress=LogProgress()):
        if step.error is None:
            step.commit()
        steps.append(step)
    return steps


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Lake, Source]]:
    """A source read, changed for two days, and read again. All sources and tables: test_coverage.py."""
    with running("stripe", seed=7, scale=0.3, limits=False) as server:
        settings = Settings.load({"DATALAKE_URL": str(tmp_path_factory.mktemp("lake")), **server.env})
        lake = Lake(settings)
        source = contracts.load_source("stripe")
        with contextlib.closing(lake):
            first = sync(lake, source, core(source))
            assert [str(step.error) for step in first if step.error] == []
            server.advance(2)
            second = sync(lake, source, core(source))
            assert [str(step.error) for step in second if step.error] == []
            yield server, lake, source


def test_every_table_equals_the_ledger(road: tuple[Server, Lake, Source]) -> None:
    server, lake, source = road
    wrong = {}
    for table in core(source):
        told = oracle.expected(source, table, server.ledger(table.name))
        if lines := oracle.difference(told, oracle.published(lake, table)):
            wrong[table.id] = [line[:300] for line in lines[:3]]
        assert told, f"the stand-in has no {table.id}: the comparison would prove nothing"
    assert wrong == {}


def test_an_unchanged_source_writes_no_data_file(road: tuple[Server, Lake, Source]) -> None:
    _, lake, source = road

    def data_files() -> set[Path]:
        return {path for suffix in ("*.parquet", "*.zst") for path in Path(lake.objects.url).rglob(suffix)}

    before = data_files()
    steps = sync(lake, source, core(source))
    assert [str(step.error) for step in steps if step.error] == []
    assert data_files() == before


def test_a_bad_row_is_told_and_can_be_asked_for(tmp_path: Path) -> None:
    with running("stripe", seed=7, scale=0.1, limits=False) as server:
        page = {
            "object": "list",
            "has_more": False,
            "url": "/v1/products",
            "data": [
                {"id": "prod_good", "created": 1_700_000_000, "active": True},
                {"id": "prod_bad", "created": 1_700_000_000, "active": "perhaps", "surprise": 1},
            ],
        }
        server.fault("/v1/products", status=200, body=json.dumps(page), headers={"Content-Type": "application/json"})
        settings = Settings.load({"DATALAKE_URL": str(tmp_path), **server.env})
        lake = Lake(settings)
        source = contracts.load_source("stripe")
        try:
            treated = sync(lake, source, [source.tables["products"]])[1]
        finally:
            lake.close()
    assert any("1 of 2 rows went to quarantine" in note for note in treated.notes)
    connection = query_connection(settings)
    try:
        rows = connection.execute('SELECT "source", "table", "column", line, reason FROM quality.quarantine').fetchall()
        assert rows == [("stripe", "products", "active", 2, 'does not fit bool: "perhaps"')]
        assert connection.execute("SELECT id FROM stripe.products").fetchall() == [("prod_good",)]
    finally:
        connection.close()


def test_a_table_that_fails_stops_only_those_that_follow_it(tmp_path: Path) -> None:
    with running("stripe", seed=7, scale=0.1, limits=False) as server:
        refusal = {"error": {"type": "invalid_request_error", "message": "The key lacks rak_balance_transaction_read."}}
        server.fault("/v1/balance_transactions", status=403, body=json.dumps(refusal), times=1000)
        lake = Lake(Settings.load({"DATALAKE_URL": str(tmp_path), **server.env}))
        source = contracts.load_source("stripe")
        names = ("balance_transactions", "balance_transaction_fee_details", "products")
        try:
            steps = sync(lake, source, [source.tables[name] for name in names])
        finally:
            lake.close()
    errors = {step.table.name: step.error for step in steps if step.error}
    assert isinstance(errors.pop("balance_transactions"), Skipped)
    assert isinstance(errors.pop("balance_transaction_fee_details"), ParentFailed)
    assert errors == {}
    assert [step.layer for step in steps if step.table.name == "products"] == list(Layer)
