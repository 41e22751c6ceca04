"""What a source, a table and a column are, and every name derived from them.

Nothing here reads a file, the network or the environment; names made here are never parsed back elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Layer(StrEnum):
    """The three layers of a table, in the order in which a record passes them."""

    RAW = "raw"
    TREATED = "treated"
    ATHENA = "athena"


class Classification(StrEnum):
    """The four classes of data, from open to closed. A column that nobody classified is `restricted`."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


SCALARS = ("string", "int64", "float64", "bool", "timestamp", "date", "json")


@dataclass(frozen=True, slots=True)
class Type:
    """A column's type: a scalar, `decimal(p,s)`, `list<element>` or `struct{name:type,…}`."""

    kind: str
    precision: int = 0
    scale: int = 0
    element: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()

    def __str__(self) -> str:
        if self.kind == "decimal":
            return f"decimal({self.precision},{self.scale})"
        if self.kind == "list":
            return f"list<{self.element}>"
        if self.kind == "struct":
            return "struct{" + ",".join(f"{name}:{type_}" for name, type_ in self.fields) + "}"
        return self.kind

    @property
    def nested(self) -> bool:
        return self.kind in ("list", "struct")


_TYPE_TOKEN = re.compile(r"\s*([A-Za-z_$+\-@][\w$+\-@.]*|\d+|[<>{}(),:])")


def parse_type(text: str) -> Type:
    """Read the type grammar. Raises ValueError that says what was found and what was wanted."""
    tokens = []
    position = 0
    while position < len(text.rstrip()):
        match = _TYPE_TOKEN.match(text, position)
        if not match:
            raise ValueError(f"'{text}': unexpected character '{text[position]}' at {position + 1}")
        tokens.append(match[1])
        position = match.end()
    type_, rest = _type(tokens, text)
    if rest:
        raise ValueError(f"'{text}': nothing may follow the type, found '{rest[0]}'")
    return type_


def _type(tokens: list[str], text: str) -> tuple[Type, list[str]]:
    if not tokens:
        raise ValueError(f"'{text}': the type ends too early")
    kind, rest = tokens[0], tokens[1:]
    if kind in SCALARS:
        return Type(kind), rest
    if kind == "decimal":
        match rest:
            case ["(", precision, ",", scale, ")", *rest] if precision.isdigit() and scale.isdigit():
                if not (1 <= int(precision) <= 38 and int(scale) <= int(precision)):
                    raise ValueError(f"'{text}': decimal(p,s) wants 1 <= p <= 38 and s <= p")
                return Type("decimal", int(precision), int(scale)), list(rest)
        raise ValueError(f"'{text}': write decimal(precision,scale)")
    if kind == "list":
        rest = _expect("<", rest, text)
        element, rest = _type(rest, text)
        return Type("list", element=element), _expect(">", rest, text)
    if kind == "struct":
        rest = _expect("{", rest, text)
        fields: list[tuple[str, Type]] = []
        while True:
            if not rest or rest[0] in "<>{}(),:":
                raise ValueError(f"'{text}': a struct field wants a name")
            name, rest = rest[0], _expect(":", rest[1:], text)
            type_, rest = _type(rest, text)
            if name in dict(fields):
                raise ValueError(f"'{text}': the field '{name}' stands twice")
            fields.append((name, type_))
            if rest[:1] == [","]:
                rest = rest[1:]
                continue
            return Type("struct", fields=tuple(fields)), _expect("}", rest, text)
    raise ValueError(f"'{kind}' is no type: use {', '.join(SCALARS)}, decimal(p,s), list<…> or struct{{a:…}}")


def _expect(token: str, rest: list[str], text: str) -> list[str]:
    if rest[:1] != [token]:
        raise ValueError(f"'{text}': '{token}' expected, found '{rest[0] if rest else 'the end'}'")
    return rest[1:]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a treated table.

    `field` is the path of the value in the record as received, one element a level (a key may itself hold a dot).
    With `from_request` it is instead the name of an extraction fact (`_lake.add` of the raw line: parent keys, tenant).
    """

    name: str
    type: Type
    about: str
    field: tuple[str, ...]
    from_request: bool = False
    nullable: bool = True
    classification: Classification = Classification.RESTRICTED
    pii: str | None = None
    mask: str | None = None
    unit: str | None = None
    refers: tuple[str, str, str] | None = None
    """(source, table, column) this column points at."""
    values: tuple[str, ...] = ()
    """Accepted values; empty means any."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a source: its contract."""

    source: str
    name: str
    about: str
    doc: str
    tier: str
    rows: str
    """Name of the function in `datalake/sources/<source>.py` that reads the rows."""
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    classification: Classification
    technical_owner: str
    business_owner: str
    path: str = ""
    params: tuple[tuple[str, str], ...] = ()
    records: str = ""
    """Where the records sit in an answer; empty for a bare array or object."""
    cursor: str | None = None
    parent: str | None = None
    """Table of the same source whose raw log drives this one."""
    also: tuple[str, ...] = ()
    """Further tables whose raw logs it reads beside its parent's."""
    events: tuple[str, ...] = ()
    partition: str | None = None
    """Column the treated table is partitioned by, by month."""
    secrets: tuple[str, ...] = ()
    """Dotted paths in the record that are dropped before anything is stored (`*` stands for every element)."""
    ignore: tuple[str, ...] = ()
    """Names of the record's own fields, `*` as wildcard, that are neither columns nor worth a place in `_unmapped`."""
    deletes: str = ""
    """How rows go away at the source, in plain words."""
    note: str = ""
    """What a reader of the table or of its extraction must know, in plain words."""
    no_key: str | None = None
    """Why the table has no key; None where it has one."""
    fresh_within_hours: float = 26.0
    like: str | None = None
    """The contract that a table without one of its own is made after."""

    @property
    def core(self) -> bool:
        return self.tier == "core"

    @property
    def id(self) -> str:
        return f"{self.source}.{self.name}"

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.id} has no column '{name}'")

    def asset_key(self, layer: Layer) -> tuple[str, str]:
        prefix = {Layer.RAW: "raw_", Layer.TREATED: "", Layer.ATHENA: "athena_"}[layer]
        return (self.source, prefix + self.name)

    @property
    def raw_prefix(self) -> str:
        return f"raw/{self.source}/{self.name}"

    @property
    def identifier(self) -> tuple[str, str]:
        """(namespace, table) in the Iceberg catalog: database = source, table = module (the company's Athena rule)."""
        return (self.source, self.name)

    @property
    def masked_name(self) -> str:
        """The twin whose sensitive fields are hidden ends in `_s` (the company's Athena rule)."""
        return f"{self.name}_s"


@dataclass(frozen=True, slots=True)
class Source:
    """One source system: defaults of its tables and the tables themselves, by name."""

    name: str
    title: str
    about: str
    doc: str
    base_url: str
    cadence: str
    """Default cron of the source's schedule, UTC."""
    timestamps: str
    """How numbers stand for points in time: `seconds` or `milliseconds`. ISO 8601 text is always read."""
    zone: str = ""
    """UTC offset of text that names a moment without one (`-03:00`, `Z`); empty: such text is no point in time."""
    extended_json: bool = False
    """Whether values that JSON has no type for come wrapped as MongoDB's Extended JSON: `{"$oid": "…"}`."""
    empty_is_none: bool = False
    """Whether an empty text stands for no value where a column is no text: `"due_date": ""`; and 0 for no point in time."""
    tables: dict[str, Table] = field(default_factory=dict)

    def group(self, layer: Layer) -> str:
        return f"{self.name}_{layer}"


def cadence(cron: str) -> str:
    """How often a cron line fires, as one word for the name of a job.

    >>> cadence("5 * * * *"), cadence("*/15 * * * *"), cadence("0 */6 * * *"), cadence("30 2 * * *")
    ('hourly', 'every_15_minutes', 'every_6_hours', 'daily')
    >>> cadence("0 4 * * 1"), cadence("0 4 1 * *"), cadence("0 8,20 * * *"), cadence("0,30 * * * *")
    ('weekly', 'monthly', 'several_a_day', 'several_an_hour')
    """
    minute, hour, day, month, weekday = cron.split()
    if hour == "*":
        if minute.startswith("*/"):
            return f"every_{minute[2:]}_minutes"
        return "hourly" if minute.isdigit() else "several_an_hour"
    if hour.startswith("*/"):
        return f"every_{hour[2:]}_hours"
    if not hour.isdigit():
        return "several_a_day"
    if weekday != "*":
        return "weekly"
    return "daily" if day == "*" and month == "*" else "monthly"


def job_name(source: Source, cron: str) -> str:
    """The job (and schedule) that brings a source's selected tables through all layers."""
    return f"{source.name}_{cadence(cron)}"


QUALITY = "quality"
"""Namespace of the lake's own records: quarantine, verdicts, metrics. Its tables carry no system columns."""

SYSTEM_COLUMNS: dict[str, tuple[Type, str]] = {
    "_extracted_at": (Type("timestamp"), "When this version of the row was asked for at the source."),
    "_raw_commit": (Type("int64"), "Sequence number of the raw commit that brought this version."),
    "_row_hash": (Type("int64"), "Fingerprint of the record as received; equal fingerprints are not written again."),
    "_deleted_at": (Type("timestamp"), "When the row was found gone at the source; empty while it lives."),
    "_unmapped": (Type("json"), "Fields of the record that the contract does not name."),
}
"""Columns that every treated table carries after its own: type and description."""


def snake_case(name: str) -> str:
    """The column name of a source's field: lower case, words parted by one underscore.

    >>> snake_case("InvoiceID"), snake_case("+1"), snake_case("$se_module"), snake_case("dateUTC")
    ('invoice_id', 'plus_one', 'se_module', 'date_utc')
    """
    special = {"+1": "plus_one", "-1": "minus_one"}
    if name in special:
        return special[name]
    text = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text)
    text = re.sub(r"[^0-9A-Za-z]+", "_", text).lower()
    return text.strip("_") if not name.startswith("_") else "_" + text.strip("_")


def jsonable(table: Table) -> dict[str, Any]:
    """A table's contract as plain data, for `describe --json` and the docs."""
    return {
        "table": table.id,
        "about": table.about,
        "doc": table.doc,
        "tier": table.tier,
        "key": list(table.key),
        "classification": str(table.classification),
        "owners": {"technical": table.technical_owner, "business": table.business_owner},
        "columns": [
            {
                "name": column.name,
                "type": str(column.type),
                "about": column.about,
                "nullable": column.nullable,
                "classification": str(column.classification),
                "pii": column.pii,
                "refers": ".".join(column.refers) if column.refers else None,
            }
            for column in table.columns
        ],
    }
