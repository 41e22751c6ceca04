"""What runs borrow: the lake, opened when first asked for. Settings are read at run time, never at import."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from datalake.settings import Settings

if TYPE_CHECKING:
    from datalake.lake.lake import Lake


class LakeResource:
    """The lake that the environment's settings name: `open` gives the same one for the whole step."""

    def __init__(self) -> None:
        self._lake: Lake | None = None

    def open(self) -> "Lake":
        if self._lake is None:
            from datalake.lake.lake import Lake

            self._lake = Lake(Settings.load())
        return self._lake

    def close(self) -> None:
        if self._lake is not None:
            self._lake.close()


@dg.resource
def lake_resource() -> Iterator[LakeResource]:
    """The lake of the settings: DATALAKE_URL, DATALAKE_CATALOG. Nothing is opened before it is used."""
    lake = LakeResource()
    try:
        yield lake
    finally:
        lake.close()
