"""What a treated table must hold, told from a stand-in's ledger through the contract's types, in plain Python."""

import datetime as dt
import json
import re
from decimal import Decimal
from typing import Any

from datalake.lake.lake import Lake
from datalake.model import SYSTEM_COLUMNS, Column, Source, Table, Type
from datalake.sandbox.base import Row
from datalake.sources.records import Drop


def expected(source: Source, table: Table, rows: list[Row]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The ledger's rows by key, each with a value a column, and whether it is deleted.

    A fact of the request that the ledger does not know (a repository's name at that moment) is left out.
    """
    told = {}
    drop = Drop(table.secrets)
    for row in rows:
        record = json.loads(drop(json.dumps(row.record).encode()))
        values = {
            column.name: _typed(
                _dig(row.add if column.from_request else record, column.field), column.type, _unit(column, source), source
            )
            for column in table.columns
            if not column.from_request or column.field[0] in row.add
        }
        told[tuple(values[name] for name in table.key)] = values | {"_deleted": row.deleted}
    return told


def published(lake: Lake, table: Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The treated table's rows by key, in the same form. A key that stands twice is an error.

    Of columns that the source told of beyond the contract it is only checked that they are there and none else.
    """
    columns = {column.name for column in lake.told(table).columns} | set(SYSTEM_COLUMNS)
    connection = lake.connect()
    try:
        rows = connection.execute(f'SELECT * FROM lake."{table.source}"."{table.name}"').to_arrow_table().to_pylist()
    finally:
        connection.close()
    found = {}
    for row in rows:
        values = {column.name: _plain(row[column.name], column.type) for column in table.columns}
        key = tuple(values[name] for name in table.key)
        assert key not in found, f"{table.id} holds {key} twice"
        found[key] = values | {"_deleted": row["_deleted_at"] is not None}
        assert set(row) == columns
    return found


def difference(told: dict[tuple[Any, ...], dict[str, Any]], found: dict[tuple[Any, ...], dict[str, Any]]) -> list[str]:
    """Where two tables differ, in words; empty where they are equal. Of a deleted row only key and mark count."""
    lines = [f"missing: {key}" for key in told.keys() - found.keys() if not told[key]["_deleted"]]
    lines += [f"too many: {key}" for key in found.keys() - told.keys() if not found[key]["_deleted"]]
    for key in told.keys() & found.keys():
        if told[key]["_deleted"] != found[key]["_deleted"]:
            lines.append(f"{key}: deleted is {found[key]['_deleted']}, must be {told[key]['_deleted']}")
        elif not told[key]["_deleted"]:
            lines += [
                f"{key}.{name}: {found[key][name]!r}, must be {value!r}"
                for name, value in told[key].items()
                if found[key][name] != value
            ]
    return lines


def _dig(record: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _typed(value: Any, type_: Type, unit: str, source: Source) -> Any:
    if value is None or (value == "" and source.empty_is_none and type_.kind not in ("string", "json")):
        return None
    if value in ("0", 0) and source.empty_is_none and type_.kind == "timestamp":
        return None
    match type_.kind:
        case "string":
            if isinstance(value, dict):
                value = value["id"]
            return value if isinstance(value, str) else json.dumps(value)
        case "int64":
            return int(value)
        case "float64":
            return float(value)
        case "decimal":
            return Decimal(str(value))
        case "timestamp":
            return _moment(value, unit, source.zone)
        case "date":
            if str(value).startswith("/Date("):
                return _moment(value, unit, source.zone).date()
            return dt.date.fromisoformat(value[:10])
        case "list":
            assert type_.element is not None
            return [_typed(item, type_.element, unit, source) for item in value]
        case "struct":
            return {name: _typed(value.get(name), field, unit, source) for name, field in type_.fields}
        case _:
            return value


def _unit(column: Column, source: Source) -> str:
    return column.unit if column.type.kind == "timestamp" and column.unit else source.timestamps


def _moment(value: Any, unit: str, zone: str) -> dt.datetime:
    text = str(value)
    if match := re.fullmatch(r"/Date\((-?\d+)([+-]\d{4})?\)/", text):
        text, unit = match[1], "milliseconds"
    if re.fullmatch(r"-?\d+", text):
        microseconds = int(text) * (1000 if unit == "milliseconds" else 1_000_000)
        return dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=microseconds)  # noqa: DTZ001 - the lake's have no zone
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = dt.datetime.fromisoformat(text + zone)
        assert moment.tzinfo, f"{text} names no offset, and the source no zone"
    return moment.astimezone(dt.UTC).replace(tzinfo=None)


def _plain(value: Any, type_: Type) -> Any:
    match type_.kind:
        case _ if value is None:
            return None
        case "json":
            return json.loads(value)
        case "list":
            assert type_.element is not None
            return [_plain(item, type_.element) for item in value]
        case "struct":
            return {name: _plain(value[name], field) for name, field in type_.fields}
    return value
