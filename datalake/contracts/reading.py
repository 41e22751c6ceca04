"""One source's contract files into frozen, typed objects; finding the sources and checks across them live in the package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from datalake.contracts.fields import ContractError, Fields, compose
from datalake.contracts.vocabulary import (
    COLUMN,
    HEAD,
    JOINABLE,
    MASKS,
    MOST_HEAD_KEYS,
    PII,
    SOURCE,
    TIERS,
    TIME_UNITS,
)
from datalake.model import SYSTEM_COLUMNS, Classification, Column, Source, Table, Type, parse_type, snake_case

_CLASSES = {str(each): each for each in Classification}
_OPEN = (Classification.PUBLIC, Classification.INTERNAL)
_REQUIRED = ("table", "about", "doc", "tier", "rows", "class", "columns")
_HOURS = r"0*[1-9]\d*(\.\d+)?|0*\.\d*[1-9]\d*"
_type = lru_cache(maxsize=None)(parse_type)


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that points at another, with its place for the error when there is nothing to point at."""

    column: Column
    target: tuple[str, str, str]
    keys: Fields

    def refuse(self, what: str, instead: str) -> NoReturn:
        self.keys.refuse("refers", what, instead)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a source says once for all its tables."""

    name: str
    technical_owner: str
    business_owner: str
    records: str
    ignore: tuple[str, ...]
    fresh_within_hours: str


def read_source(folder: Path, own: Path | None = None) -> tuple[Source, list[Reference]]:
    """The source of a folder with all its tables. Columns' references are given back unchecked.

    Files in `own` are added to those of `folder`, and stand in place of those of the same name.
    """
    files = {file.name: file for place in (folder, own) if place for file in place.glob("*.yaml")}
    first = files.pop("_source.yaml", folder / "_source.yaml")
    head = Fields(first, "", compose(first), SOURCE)
    source = Source(
        name=head.text("source"),
        title=head.text("title"),
        about=head.text("about"),
        doc=head.match("doc", r"https://\S+", "write the page's https address"),
        base_url=head.match("base_url", r"(https|mongodb)://\S+", "write the API's https address"),
        cadence=head.match("cadence", r"\S+( \S+){4}", "write five fields of cron, such as 5 * * * *"),
        timestamps=head.choice("timestamps", dict(zip(TIME_UNITS, TIME_UNITS, strict=True))),
        extended_json=head.choice("json", {"plain": False, "extended": True}, "plain"),
        empty_is_none=head.choice("empty", {"text": False, "none": True}, "text"),
        zone=head.match("zone", r"(Z|[+-]\d\d:\d\d)?", "write an offset from UTC, such as -03:00 or Z", ""),
    )
    if source.name != folder.name:
        head.refuse("source", f"'{source.name}' lies in the folder '{folder.name}'", "give both one name")
    defaults = Defaults(
        name=source.name,
        technical_owner=_address(head, "technical_owner"),
        business_owner=_address(head, "business_owner"),
        records=head.text("records", ""),
        ignore=head.texts("ignore"),
        fresh_within_hours=head.match("fresh_within_hours", _HOURS, "write hours, such as 26", "26"),
    )
    references: list[Reference] = []
    heads: dict[str, Fields] = {}
    for _, file in sorted(files.items()):
        keys = Fields(file, "", compose(file), HEAD)
        table = _table(keys, defaults, references)
        source.tables[table.name] = table
        heads[table.name] = keys
    _check_parents(source, heads)
    return source, references


def _table(keys: Fields, defaults: Defaults, references: list[Reference]) -> Table:
    for required in _REQUIRED:
        if required not in keys:
            keys.refuse(required, "is missing", f"write it: {HEAD[required]}")
    if len(keys.values) - 1 > MOST_HEAD_KEYS:
        keys.refuse(
            "table", f"the head has {len(keys.values) - 1} keys", f"keep at most {MOST_HEAD_KEYS}: join notes into about"
        )
    name = keys.match("table", r"[a-z][a-z0-9_]*", "write lower case words parted by _")
    if name != keys.file.stem:
        keys.refuse("table", f"'{name}' lies in {keys.file.name}", "give table and file one name")
    if name.endswith("_s"):
        keys.refuse("table", f"'{name}' ends in _s, which marks a table with hidden fields", "choose another name")
    classification = keys.choice("class", _CLASSES)
    secrets = keys.texts("secrets")
    columns = _columns(keys.mapping("columns", None), defaults.name, classification, secrets, references)
    by_name = {column.name: column for column in columns}
    owners = keys.mapping("owners", ("technical", "business"))
    if "key" in keys and "no_key" in keys:
        keys.refuse("no_key", "stands beside key", "keep one of them")
    key = keys.texts("key")
    if "no_key" not in keys and not key:
        keys.refuse("key", "is missing", "name the key columns, or say in no_key why there are none")
    for each in key:
        if each not in by_name:
            keys.refuse("key", f"'{each}' is no column", f"use {', '.join(by_name)}")
        if by_name[each].nullable:
            keys.refuse("key", f"'{each}' may be empty", f"write {{…, null: no}} at the column {each}")
    cursor = keys.text("cursor", "") or None
    if cursor is not None and cursor not in by_name:
        keys.refuse("cursor", f"'{cursor}' is no column", f"use {', '.join(by_name)}")
    return Table(
        source=defaults.name,
        name=name,
        about=keys.text("about"),
        doc=keys.match("doc", r"https://\S+", "write the page's https address"),
        tier=keys.choice("tier", dict(zip(TIERS, TIERS, strict=True))),
        rows=keys.match("rows", r"[a-z][a-z0-9_]*", "write the name of a function"),
        columns=columns,
        key=key,
        classification=classification,
        technical_owner=_address(owners, "technical", defaults.technical_owner),
        business_owner=_address(owners, "business", defaults.business_owner),
        path=keys.text("path", ""),
        params=_params(keys.mapping("params", None)),
        records=keys.text("records", defaults.records),
        cursor=cursor,
        parent=keys.text("parent", "") or None,
        also=keys.texts("also"),
        events=keys.texts("events"),
        partition=_partition(keys, by_name),
        secrets=secrets,
        ignore=(*defaults.ignore, *keys.texts("ignore")),
        deletes=keys.text("deletes", ""),
        note=keys.text("note", ""),
        no_key=keys.text("no_key") if "no_key" in keys else None,
        fresh_within_hours=float(
            keys.match("fresh_within_hours", _HOURS, "write hours, such as 26", defaults.fresh_within_hours)
        ),
    )


def _columns(
    lines: Fields, source: str, classification: Classification, secrets: tuple[str, ...], references: list[Reference]
) -> tuple[Column, ...]:
    columns = []
    received: dict[tuple[bool, tuple[str, ...]], str] = {}
    for name in lines.values:
        if not re.fullmatch(r"_?[a-z0-9]+(_[a-z0-9]+)*", name):
            lines.refuse(name, "is no column name", f"write {snake_case(name)}, with from: where the source says otherwise")
        if name in SYSTEM_COLUMNS:
            lines.refuse(name, "is the name of a system column", "choose another name, with from: to say where it comes from")
        keys = lines.mapping(name, COLUMN)
        column = _column(keys, name, source, classification)
        place = (column.from_request, column.field)
        if place in received:
            lines.refuse(name, f"comes from the same field as {received[place]}", "keep one of them, or correct from:")
        received[place] = name
        if not column.from_request and ".".join(column.field) in secrets:
            lines.refuse(name, "is among the secrets, which are dropped", "remove the column or the secret")
        if column.refers:
            references.append(Reference(column, column.refers, keys))
        columns.append(column)
    if not columns:
        raise ContractError(f"{lines.file}:{lines.node.start_mark.line + 1}: columns: is empty; write one line a column")
    for column in columns:
        currency = column.unit and re.fullmatch(r"minor units of (\w+)", column.unit)
        if currency and currency[1] not in lines:
            lines.refuse(
                column.name, f"is in minor units of '{currency[1]}', which is no column", "name the column of the currency"
            )
    return tuple(columns)


def _column(keys: Fields, name: str, source: str, table_class: Classification) -> Column:
    type_ = _read_type(keys)
    field, from_request = _received(keys, name)
    pii = keys.choice("pii", {kind: kind for kind in PII}) if "pii" in keys else None
    default = Classification.RESTRICTED if pii else table_class
    classification = keys.choice("class", _CLASSES, str(default))
    if pii and classification in _OPEN:
        keys.refuse("class", f"personal data is not {classification}", "write confidential, or leave it out for restricted")
    unit = keys.text("unit", "") or None
    if unit and type_.kind == "timestamp" and unit not in TIME_UNITS:
        keys.refuse("unit", f"'{unit}' is no unit of a timestamp", f"use {', '.join(TIME_UNITS)}")
    if "null" in keys and keys.text("null") != "no":
        keys.refuse("null", f"'{keys.text('null')}' is unknown", "write no, or leave it out where a value may be missing")
    mask = "hmac" if pii in JOINABLE and type_.kind == "string" else "hide" if pii else None
    return Column(
        name=name,
        type=type_,
        about=keys.text("about", ""),
        field=field,
        from_request=from_request,
        nullable="null" not in keys,
        classification=classification,
        pii=pii,
        mask=keys.choice("mask", {kind: kind for kind in MASKS}) if "mask" in keys else mask,
        unit=unit,
        refers=_refers(keys, source) if "refers" in keys else None,
        values=keys.texts("values"),
    )


def _read_type(keys: Fields) -> Type:
    try:
        return _type(keys.text("type"))
    except ValueError as error:
        if isinstance(error, ContractError):
            raise
        keys.refuse("type", str(error), "quote a type that holds a comma")


def _received(keys: Fields, name: str) -> tuple[tuple[str, ...], bool]:
    """Where the value stands: path in the record, or name among the request's facts."""
    if "from" not in keys:
        return (name,), False
    parts = keys.text_or_texts("from")
    if parts[0].startswith("$request."):
        return (parts[0].removeprefix("$request."),), True
    if not keys.is_list("from"):
        parts = tuple(parts[0].split("."))
    if not all(parts):
        keys.refuse("from", "has an empty part", "write the path as a.b, or as [a, b] where a name holds a dot")
    if parts == (name,):
        keys.refuse("from", "says what the column's name says", "leave it out")
    return parts, False


def _refers(keys: Fields, source: str) -> tuple[str, str, str]:
    parts = keys.match("refers", r"\w+\.\w+(\.\w+)?", "write table.column or source.table.column").split(".")
    return (source, parts[0], parts[1]) if len(parts) == 2 else (parts[0], parts[1], parts[2])


def _partition(keys: Fields, columns: dict[str, Column]) -> str | None:
    if "partition" not in keys:
        return None
    name = keys.match("partition", r"month\(\w+\)", "write month(column)")[6:-1]
    if name not in columns:
        keys.refuse("partition", f"'{name}' is no column", f"use {', '.join(columns)}")
    if columns[name].type.kind not in ("timestamp", "date"):
        keys.refuse("partition", f"'{name}' is no timestamp or date but {columns[name].type}", "choose a date, or leave it out")
    return name


def _params(keys: Fields) -> tuple[tuple[str, str], ...]:
    return tuple((name, text) for name in keys.values for text in keys.text_or_texts(name))


def _address(keys: Fields, key: str, default: str | None = None) -> str:
    return keys.match(key, r"[^@\s]+@[^@\s]+", "write an e-mail address", default)


def _check_parents(source: Source, heads: dict[str, Fields]) -> None:
    for name, table in source.tables.items():
        if table.parent is not None and table.parent not in source.tables:
            heads[name].refuse("parent", f"{source.name} has no table '{table.parent}'", "name a table of the same source")
        for other in table.also:
            if other not in source.tables or source.tables[other].parent is not None:
                heads[name].refuse("also", f"{source.name} has no table '{other}' without a parent", "name one that has none")
    for name in source.tables:
        line = [name]
        while (parent := source.tables[line[-1]].parent) is not None:
            if parent == name:
                heads[name].refuse("parent", f"is driven by itself: {' ← '.join([*line, name])}", "cut the circle")
            if parent in line:
                break
            line.append(parent)
