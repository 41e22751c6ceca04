"""How Dagster describes what a step committed, and how it hands layers to assets downstream. Writing lives in `lake`.

The step commits before it yields its output: an exception inside an IO manager would end the source's whole step, and with
it the tables that were still to come (docs/adr/0004-one-step-a-source.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg

from datalake import contracts
from datalake.assets import metadata
from datalake.model import Table
from datalake.resources import LakeResource

if TYPE_CHECKING:
    from datalake.lake.raw import RawLog
    from datalake.pipeline import Step

T = TypeVar("T")


class RawIOManager(dg.IOManager):
    """The raw layer. Downstream it is an iterator of raw lines (annotation `Iterator`), or the table's log (`RawLog`).

    Input metadata `since` (a commit's sequence number) passes over the commits up to it.
    """

    def __init__(self, lake: LakeResource) -> None:
        self._lake = lake

    def handle_output(self, context: dg.OutputContext, obj: Step) -> None:
        from datalake.sources.engine import Extraction

        extraction = _result(context, obj, Extraction)
        context.add_output_metadata(metadata.raw(self._lake.open(), obj.table, extraction))

    def load_input(self, context: dg.InputContext) -> Any:
        from datalake.lake.raw import RawLog

        log = self._lake.open().log(_table(context))
        wanted = context.dagster_type.typing_type
        if wanted is RawLog:
            return log
        since = int((context.definition_metadata or {}).get("since", 0))
        return _lines(log, since)


class TreatedIOManager(dg.IOManager):
    """The treated layer. Downstream a table is what the asset's parameter says: `pandas.DataFrame`, `pyarrow.Table`,
    `pyarrow.RecordBatchReader` or `duckdb.DuckDBPyRelation` (the last two never hold the whole table).

    Input metadata: `columns` (names) and `filter` (an Iceberg row filter such as `"status = 'paid' and amount > 100"`; it is
    parsed, never pasted into SQL). Rows deleted at the source are there: `filter="_deleted_at is null"` leaves them out.
    """

    def __init__(self, lake: LakeResource) -> None:
        self._lake = lake

    def handle_output(self, context: dg.OutputContext, obj: Step) -> None:
        from datalake.treat import Batch

        batch = _result(context, obj, Batch)
        context.add_output_metadata(metadata.treated(self._lake.open(), obj.table, batch))

    def load_input(self, context: dg.InputContext) -> Any:
        from datalake.lake.read import read

        options = context.definition_metadata or {}
        columns = options.get("columns")
        return read(
            self._lake.open(),
            _table(context),
            context.dagster_type.typing_type,
            columns=tuple(columns) if columns else None,
            row_filter=options.get("filter"),
        )


@dg.io_manager(required_resource_keys={"lake"})
def raw_io_manager(context: dg.InitResourceContext) -> RawIOManager:
    """Raw log: S3 or a folder, by DATALAKE_URL."""
    return RawIOManager(context.resources.lake)


@dg.io_manager(required_resource_keys={"lake"})
def treated_io_manager(context: dg.InitResourceContext) -> TreatedIOManager:
    """Iceberg tables: S3 or a folder, by DATALAKE_URL and DATALAKE_CATALOG."""
    return TreatedIOManager(context.resources.lake)


def _result(context: dg.OutputContext, step: object, kind: type[T]) -> T | None:
    """What the step committed. Raises TypeError for the output of any other asset: only the sources write these layers."""
    from datalake.pipeline import Step

    if not isinstance(step, Step) or not isinstance(step.result, kind | None):
        raise TypeError(
            f"{context.asset_key.to_user_string()}: this layer is written by the sources' own assets only; "
            "give an asset of yours another io_manager_key"
        )
    return step.result


def _table(context: dg.InputContext) -> Table:
    upstream = context.upstream_output
    assert upstream is not None
    facts = upstream.definition_metadata or {}
    return contracts.load_source(facts["datalake/source"]).tables[facts["datalake/table"]]


def _lines(log: RawLog, since: int) -> Iterator[bytes]:
    for commit in log.since(since):
        yield from log.lines(commit)
