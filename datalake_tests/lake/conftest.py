from collections.abc import Iterator
from pathlib import Path

import pytest

from datalake.lake.lake import Lake
from datalake_tests.lake.build import open_lake


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = open_lake(tmp_path / "lake")
    yield lake
    lake.close()
