"""A treated table in the shapes that Python code works with: pandas, Arrow, a stream of batches, a DuckDB relation."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from datalake.lake.catalog import load_or_none
from datalake.lake.register import NotPublished
from datalake.lake.sql import CATALOG
from datalake.model import Table

if TYPE_CHECKING:
    import duckdb

    from datalake.lake.lake import Lake

SHAPES = ("pandas.DataFrame", "pyarrow.Table", "pyarrow.RecordBatchReader", "duckdb.DuckDBPyRelation")


def read(
    lake: Lake, table: Table, shape: type, *, columns: tuple[str, ...] | None = None, row_filter: str | None = None
) -> Any:
    """The published rows as `shape`, one of SHAPES; the reader and the relation never hold the whole table.

    `row_filter` is an Iceberg row filter in words: `"status = 'paid' and amount > 100"`. Raises NotPublished, TypeError for
    another shape, ValueError for a column or a filter that the table does not have.
    """
    import duckdb
    import pandas as pd
    import pyarrow as pa

    found = load_or_none(lake.catalog, table.identifier)
    if found is None:
        raise NotPublished(f"{table.id} has not been published yet: run its job, or `datalake sync {table.id}`")
    names = set(found.schema().column_names)
    if unknown := set(columns or ()) - names:
        raise ValueError(f"{table.id} has no column {', '.join(sorted(unknown))}")
    if shape is duckdb.DuckDBPyRelation:
        return _relation(lake, table, columns, row_filter)
    scan = found.scan(row_filter=row_filter or "true", selected_fields=columns or ("*",))
    if shape is pd.DataFrame:
        return scan.to_pandas()
    if shape is pa.Table:
        return scan.to_arrow()
    if shape is pa.RecordBatchReader:
        return scan.to_arrow_batch_reader()
    raise TypeError(f"{table.id} cannot be loaded as {shape}: annotate the parameter with one of {', '.join(SHAPES)}")


def _relation(lake: Lake, table: Table, columns: tuple[str, ...] | None, row_filter: str | None) -> duckdb.DuckDBPyRelation:
    import duckdb

    relation = lake.connect().table(".".join((CATALOG, *table.identifier)))
    if row_filter:
        relation = relation.filter(_expression(row_filter, dict(zip(relation.columns, relation.types, strict=True))))
    return relation.select(*(duckdb.ColumnExpression(name) for name in columns)) if columns else relation


def _expression(row_filter: str, types: dict[str, Any]) -> duckdb.Expression:
    """An Iceberg row filter as an expression of DuckDB: constants stay values, and take the type of their column."""
    import duckdb
    from pyiceberg import expressions as iceberg
    from pyiceberg.expressions.parser import parse

    compare: dict[type, Callable[[duckdb.Expression, duckdb.Expression], duckdb.Expression]] = {
        iceberg.EqualTo: operator.eq,
        iceberg.NotEqualTo: operator.ne,
        iceberg.LessThan: operator.lt,
        iceberg.LessThanOrEqual: operator.le,
        iceberg.GreaterThan: operator.gt,
        iceberg.GreaterThanOrEqual: operator.ge,
    }

    def convert(part: Any) -> duckdb.Expression:
        match part:
            case iceberg.And():
                return convert(part.left) & convert(part.right)
            case iceberg.Or():
                return convert(part.left) | convert(part.right)
            case iceberg.Not():
                return ~convert(part.child)
        column = duckdb.ColumnExpression(part.term.name)

        def constant(value: Any) -> duckdb.Expression:
            return duckdb.ConstantExpression(value.value).cast(types[part.term.name])

        match part:
            case iceberg.IsNull():
                return column.isnull()
            case iceberg.NotNull():
                return column.isnotnull()
            case iceberg.In():
                return column.isin(*map(constant, part.literals))
            case iceberg.NotIn():
                return column.isnotin(*map(constant, part.literals))
            case iceberg.StartsWith():
                return duckdb.FunctionExpression("starts_with", column, duckdb.ConstantExpression(part.literal.value))
        if type(part) not in compare:
            raise ValueError(f"'{row_filter}': {type(part).__name__} is not understood here; filter the relation itself")
        return compare[type(part)](column, constant(part.literal))

    return convert(parse(row_filter))
