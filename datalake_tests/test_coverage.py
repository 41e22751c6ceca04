"""Every table of every source: two syncs with changes and deletions between, and it equals the stand-in's own ledger."""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from datalake import contracts
from datalake.lake.lake import Lake
from datalake.model import Source
from datalake.pipeline import run_source
from datalake.sandbox.base import Server, running
from datalake.sandbox.fed import fed
from datalake.settings import Settings
from datalake.sources import CONNECTED
from datalake.sources.progress import LogProgress
from datalake_tests import oracle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Road:
    """A source of which all tables were read, changed for two days, and read again. `errors` by table, of both syncs."""

    server: Server
    lake: Lake
    source: Source
    errors: dict[str, list[str]]


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Road]]:
    """Walks a source's road at its first table; the other tables look at the same one."""
    roads: dict[str, Road] = {}
    with contextlib.ExitStack() as stack:

        def walked(name: str) -> Road:
            if name not in roads:
                server = stack.enter_context(running(name, seed=7, scale=0.3, limits=False))
                settings = Settings.load({"DATALAKE_URL": str(tmp_path_factory.mktemp(name)), **server.env})
                stack.enter_context(fed(name, server, settings))
                lake = Lake(settings)
                stack.callback(lake.close)
                roads[name] = made = Road(server, lake, contracts.load_source(name), {})
                _sync(made)
                server.advance(2)
                _sync(made)
            return roads[name]

        yield walked


def _sync(road: Road) -> None:
    """One sync of everything, errors kept by table."""
    tables = list(road.source.tables.values())
    for step in run_source(road.lake, road.source, tables, run_id=uuid.uuid4().hex, progress=LogProgress()):
        if step.error is None:
            step.commit()
        else:
            road.errors.setdefault(step.table.name, []).append(str(step.error)[:500])


class Comparison:
    """One source's tables. Each source has a class of its own, so that its tests share a road wherever they run."""

    source: str

    def test_the_table_equals_the_ledger(self, road: Callable[[str], Road], table: str) -> None:
        walked = road(self.source)
        assert walked.errors.get(table, []) == []
        of = walked.source.tables[table]
        told = oracle.expected(walked.source, of, walked.server.ledger(table))
        assert told, f"the stand-in has no {of.id}: the comparison would prove nothing"
        assert [line[:300] for line in oracle.difference(told, oracle.published(walked.lake, of))[:5]] == []

    def test_the_days_between_brought_news_changes_and_deletions(self, road: Callable[[str], Road]) -> None:
        """Without them the comparison would prove little."""
        walked = road(self.source)
        connection = walked.lake.connect()
        try:
            inserted = updated = deleted = 0
            for table in walked.source.tables:
                new, changed, gone = connection.execute(
                    f"""SELECT count(*) FILTER (_raw_commit > 1), count(DISTINCT _raw_commit), count(_deleted_at)
                    FROM lake."{self.source}"."{table}" """
                ).fetchall()[0]
                inserted, updated, deleted = inserted + (new > 0), updated + (changed > 1), deleted + (gone > 0)
        finally:
            connection.close()
        assert min(inserted, updated, deleted) >= 3

    def test_an_unchanged_source_writes_no_data_file(self, road: Callable[[str], Road]) -> None:
        walked = road(self.source)

        def data_files() -> set[Path]:
            return {path for suffix in ("*.parquet", "*.zst") for path in Path(walked.lake.objects.url).rglob(suffix)}

        before = data_files()
        _sync(walked)
        assert walked.errors == {}
        assert {str(path.relative_to(walked.lake.objects.url)) for path in data_files() - before} == set()


for _name in CONNECTED:
    globals()[f"Test_{_name}"] = type(f"Test_{_name}", (Comparison,), {"source": _name})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "table" in metafunc.fixturenames and metafunc.cls is not None:
        metafunc.parametrize("table", list(contracts.load_source(metafunc.cls.source).tables))
