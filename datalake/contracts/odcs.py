"""A table's contract in the Open Data Contract Standard v3.1, so that other tools can read it; our own form lives in YAML."""

from __future__ import annotations

from typing import Any

from datalake.model import Column, Source, Table, Type

API_VERSION = "v3.1.0"

_LOGICAL = {
    "string": "string",
    "json": "string",
    "int64": "integer",
    "float64": "number",
    "decimal": "number",
    "bool": "boolean",
    "timestamp": "timestamp",
    "date": "date",
}


def to_odcs(source: Source, table: Table) -> dict[str, Any]:
    """The data contract of one table as a mapping that dumps to YAML or JSON.

    References name the other table's contract as `<table>.odcs.yaml` beside this one, `../<source>/…` elsewhere.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": f"{source.name}-{table.name}",
        "name": table.id,
        "version": "1.0.0",
        "status": "active",
        "domain": source.name,
        "tags": [table.tier],
        "description": _present({"purpose": table.about, "usage": table.note, "limitations": _limits(table)}),
        "authoritativeDefinitions": [{"url": table.doc, "type": "implementation"}],
        "schema": [_object(table)],
        "team": {
            "members": [
                {"username": table.technical_owner, "role": "technical owner"},
                {"username": table.business_owner, "role": "business owner"},
            ]
        },
        "slaProperties": [
            {"property": "latency", "value": table.fresh_within_hours, "unit": "h", "element": table.name},
            {"property": "frequency", "value": source.cadence, "scheduler": "cron", "schedule": source.cadence},
        ],
    }


def _object(table: Table) -> dict[str, Any]:
    return _present(
        {
            "id": table.name,
            "name": table.name,
            "physicalName": ".".join(table.identifier),
            "physicalType": "table",
            "logicalType": "object",
            "description": table.about,
            "properties": [_column(column, table) for column in table.columns],
            "quality": [_unique(table)] if table.key else [],
            "customProperties": _custom(
                classification=str(table.classification),
                droppedSecrets=list(table.secrets),
                deletes=table.deletes,
                noKeyBecause=table.no_key,
            ),
        }
    )


def _column(column: Column, table: Table) -> dict[str, Any]:
    key = column.name in table.key
    return _present(
        {
            "id": column.name,
            "name": column.name,
            **_typed(column.type),
            "description": column.about,
            "required": not column.nullable,
            "primaryKey": key or None,
            "primaryKeyPosition": table.key.index(column.name) + 1 if key else None,
            "partitioned": True if column.name == table.partition else None,
            "partitionKeyPosition": 1 if column.name == table.partition else None,
            "classification": str(column.classification),
            "tags": ["pii"] if column.pii else [],
            "relationships": [{"type": "foreignKey", "to": _reference(column.refers, table)}] if column.refers else [],
            "quality": [_accepted(column.values)] if column.values else [],
            "customProperties": _custom(
                receivedAs="$request." + column.field[0] if column.from_request else list(column.field),
                pii=column.pii,
                mask=column.mask,
                unit=column.unit,
            ),
        }
    )


def _typed(type_: Type) -> dict[str, Any]:
    """Logical and physical type; structs and lists carry their parts."""
    if type_.kind == "struct":
        fields = [{"name": name, **_typed(field)} for name, field in type_.fields]
        return {"logicalType": "object", "physicalType": str(type_), "properties": fields}
    if type_.element is not None:
        return {"logicalType": "array", "physicalType": str(type_), "items": _typed(type_.element)}
    return {"logicalType": _LOGICAL[type_.kind], "physicalType": str(type_)}


def _reference(refers: tuple[str, str, str], table: Table) -> str:
    source, name, column = refers
    folder = "" if source == table.source else f"../{source}/"
    return f"{folder}{name}.odcs.yaml#/schema/{name}/properties/{column}"


def _unique(table: Table) -> dict[str, Any]:
    return {
        "id": "key_unique",
        "type": "library",
        "metric": "duplicateValues",
        "description": "No two rows share a key.",
        "dimension": "uniqueness",
        "arguments": {"properties": list(table.key)},
        "mustBe": 0,
        "unit": "rows",
    }


def _accepted(values: tuple[str, ...]) -> dict[str, Any]:
    return {
        "id": "accepted_values",
        "type": "library",
        "metric": "invalidValues",
        "dimension": "conformity",
        "arguments": {"validValues": list(values)},
        "mustBe": 0,
        "unit": "rows",
    }


def _limits(table: Table) -> str:
    return f"Secrets are dropped before anything is stored: {', '.join(table.secrets)}." if table.secrets else ""


def _custom(**properties: Any) -> list[dict[str, Any]]:
    return [{"property": name, "value": value} for name, value in properties.items() if value]


def _present(mapping: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if value not in (None, "", [])}
