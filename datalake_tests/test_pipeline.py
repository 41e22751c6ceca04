"""The whole road: stand-in, raw, treated, registered; twice, with changes and deletions between."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from datalake import contracts
from datalake.lake.lake import Lake
from datalake.model import Source, Table
from datalake.pipeline import Step, run_source
from datalake.sandbox.base import Server, running
from datalake.settings import Settings
from datalake.sources import CONNECTED
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


@pytest.fixture(scope="module", params=CONNECTED)
def road(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Lake, Source]]:
    """A source read, changed for two days, and read again."""
    with running(request.param, seed=7, scale=0.3, limits=False) as server:
        lake = Lake(Settings.load({"DATALAKE_URL": str(tmp_path_factory.mktemp("lake")), **server.env}))
        source = contracts.load_source(request.param)
        try:
            first = sync(lake, source, core(source))
            assert [str(step.error) for step in first if step.error] == []
            server.advance(2)
            second = sync(lake, source, core(source))
            assert [str(step.error) for step in second if step.error] == []
            yield server, lake, source
        finally:
            lake.close()


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
