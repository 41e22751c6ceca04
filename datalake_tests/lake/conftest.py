import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from datalake.lake.lake import Lake
from datalake_tests.lake.build import open_lake


@pytest.fixture(scope="session")
def one_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    lake = open_lake(tmp_path_factory.mktemp("lakes") / "lake")
    yield lake
    lake.close()


@pytest.fixture
def lake(one_lake: Lake) -> Lake:
    """An empty lake. Opening one costs a third of a second of CPU, so the tests share it and each begins by emptying it."""
    for namespace in one_lake.catalog.list_namespaces():
        for identifier in one_lake.catalog.list_tables(namespace):
            one_lake.catalog.drop_table(identifier)
            one_lake.on_commit(identifier, {})
        one_lake.catalog.drop_namespace(namespace)
    folder = Path(one_lake.settings.lake_url)
    shutil.rmtree(folder / "treated", ignore_errors=True)
    (folder / "lake.duckdb").unlink(missing_ok=True)
    return one_lake
