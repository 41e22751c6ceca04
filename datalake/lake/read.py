"""A treated table in the shapes that Python code works with: pandas, Arrow, a stream of batches, a DuckDB relation."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datalake.lake.catalog import load_or_none
from datalake.lake.register import NotPublished
from datalake.model import Table

if TYPE_CHECKING:
    import duckdb
    from pyiceberg.expressions import BooleanExpression

    from datalake.lake.lake import Lake

SHAPES = ("pandas.DataFrame", "pyarrow.Table", "pyarrow.RecordBatchReader", "duckdb.DuckDBPyRelation")


def read(
    lake: Lake, table: Table, shape: type, *, columns: tuple[str, ...] | None = None, row_filter: str | None = None
) -> Any:
    """The published rows as `shape`, one of SHAPES; the reader and the relation never hold the whole table.

    `row_filter` is an Iceberg row filter: `"status = 'paid' and not (id like 'ch_%')"`; points in time are UTC, without a zone.
    Raises NotPublished, TypeError for another shape, ValueError for a column or a filter that is none.
    """
    import duckdb
    import pandas as pd
    import pyarrow as pa
    from pyiceberg.expressions import AlwaysTrue

    found = load_or_none(lake.catalog, table.identifier)
    if found is None:
        raise NotPublished(f"{table.id} has not been published yet: run its job, or `datalake sync {table.id}`")
    names = set(found.schema().column_names)
    if unknown := set(columns or ()) - names:
        raise ValueError(f"{table.id} has no column {', '.join(sorted(unknown))}")
    wanted = _parse(table, row_filter) if row_filter else AlwaysTrue()
    if shape is duckdb.DuckDBPyRelation:
        return _relation(lake, found.metadata_location, columns, wanted)
    scan = found.scan(row_filter=wanted, selected_fields=columns or ("*",))
    if shape is pd.DataFrame:
        return scan.to_pandas()
    if shape is pa.Table:
        return scan.to_arrow()
    if shape is pa.RecordBatchReader:
        return scan.to_arrow_batch_reader()
    raise TypeError(f"{table.id} cannot be loaded as {shape}: annotate the parameter with one of {', '.join(SHAPES)}")


def _parse(table: Table, row_filter: str) -> BooleanExpression:
    from pyiceberg.expressions.parser import parse
    from pyparsing import ParseException

    try:
        return parse(row_filter)
    except ParseException as error:
        raise ValueError(
            f"{table.id}: '{row_filter}' is no row filter, it is not understood from character {error.loc + 1} on; "
            "write such as: status = 'paid' and amount > 100"
        ) from None


def _relation(
    lake: Lake, metadata_location: str, columns: tuple[str, ...] | None, wanted: BooleanExpression
) -> duckdb.DuckDBPyRelation:
    """The table read by its metadata file. Through the attached catalog it would hang: DuckDB binds a relation with Python's
    lock held, and waits for the catalog, which this same process serves."""
    import duckdb

    relation = lake.connect().table_function("iceberg_scan", [metadata_location])
    relation = relation.filter(_expression(wanted, dict(zip(relation.columns, relation.types, strict=True))))
    return relation.select(*(duckdb.ColumnExpression(name) for name in columns)) if columns else relation


def _expression(wanted: BooleanExpression, types: dict[str, Any]) -> duckdb.Expression:
    """An Iceberg row filter as an expression of DuckDB: constants stay values, and take the type of their column."""
    import duckdb
    from pyiceberg import expressions as iceberg

    compare: dict[type, Callable[[duckdb.Expression, duckdb.Expression], duckdb.Expression]] = {
        iceberg.EqualTo: operator.eq,
        iceberg.NotEqualTo: operator.ne,
        iceberg.LessThan: operator.lt,
        iceberg.LessThanOrEqual: operator.le,
        iceberg.GreaterThan: operator.gt,
        iceberg.GreaterThanOrEqual: operator.ge,
    }

    def column(part: Any) -> duckdb.Expression:
        return duckdb.ColumnExpression(part.term.name)

    def constant(part: Any, literal: Any) -> duckdb.Expression:
        return duckdb.ConstantExpression(literal.value).cast(types[part.term.name])

    def convert(part: Any) -> duckdb.Expression:
        match part:
            case iceberg.AlwaysTrue() | iceberg.AlwaysFalse():
                return duckdb.ConstantExpression(isinstance(part, iceberg.AlwaysTrue))
            case iceberg.And():
                return convert(part.left) & convert(part.right)
            case iceberg.Or():
                return convert(part.left) | convert(part.right)
            case iceberg.Not():
                return ~convert(part.child)
            case iceberg.IsNull():
                return column(part).isnull()
            case iceberg.NotNull():
                return column(part).isnotnull()
            case iceberg.In():
                return column(part).isin(*(constant(part, literal) for literal in part.literals))
            case iceberg.NotIn():
                return column(part).isnotin(*(constant(part, literal) for literal in part.literals))
            case iceberg.StartsWith():
                return duckdb.FunctionExpression("starts_with", column(part), constant(part, part.literal))
        if type(part) not in compare:
            raise ValueError(f"{type(part).__name__} is not understood in a filter of a relation: filter the relation itself")
        return compare[type(part)](column(part), constant(part, part.literal))

    return convert(wanted)
