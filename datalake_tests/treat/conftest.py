from collections.abc import Iterator
from pathlib import Path

import pytest

from datalake.lake.lake import Lake
from datalake.settings import Settings


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(Settings({"DATALAKE_URL": str(tmp_path / "lake"), "DATALAKE_THREADS": "2"}))
    yield lake
    lake.close()
