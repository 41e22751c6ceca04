"""JSON Schemas of the contract files, for editors: completion, hints, red lines. What binds is the loader beside it."""

from __future__ import annotations

from typing import Any

from datalake.contracts.vocabulary import COLUMN, HEAD, MASKS, MOST_HEAD_KEYS, PII, SOURCE, TIERS, TIME_UNITS
from datalake.model import SCALARS, Classification

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Schema = {"type": "string", "minLength": 1}
_TEXTS: Schema = {"type": "array", "items": _TEXT, "minItems": 1, "uniqueItems": True}
_PARAMETER: Schema = {"type": ["string", "number", "boolean"]}
_HOURS: Schema = {"oneOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\d*\.?\d+$"}]}
_ADDRESS: Schema = {"type": "string", "pattern": r"^[^@\s]+@[^@\s]+$"}
_PAGE: Schema = {"type": "string", "pattern": r"^https://\S+$"}
_NAME = r"[a-z][a-z0-9_]*"
_COLUMN_NAME = r"^_?[a-z0-9]+(_[a-z0-9]+)*$"
_CLASS: Schema = {"enum": [str(each) for each in Classification]}


def contract_schema() -> Schema:
    """The schema of `<source>/<table>.yaml`."""
    columns = {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {_COLUMN_NAME: _object(COLUMN, _COLUMN_SHAPES, ["type"])},
        "additionalProperties": False,
    }
    return {
        "$schema": _DIALECT,
        "title": "Contract of a table",
        **_object(HEAD, _HEAD_SHAPES | {"columns": columns}, ["table", "doc", "about", "tier", "rows", "class", "columns"]),
        "oneOf": [{"required": ["key"]}, {"required": ["no_key"]}],
        "maxProperties": MOST_HEAD_KEYS + 1,
    }


def source_schema() -> Schema:
    """The schema of `<source>/_source.yaml`."""
    optional = {"empty", "json", "zone", "records", "ignore", "fresh_within_hours"}
    required = [key for key in SOURCE if key not in optional]
    return {"$schema": _DIALECT, "title": "Defaults of a source", **_object(SOURCE, _SOURCE_SHAPES, required)}


def _object(keys: dict[str, str], shapes: dict[str, Schema], required: list[str]) -> Schema:
    properties = {key: {"description": about, **shapes.get(key, _TEXT)} for key, about in keys.items()}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _told(words: dict[str, str]) -> Schema:
    return {"oneOf": [{"const": word, "description": about} for word, about in words.items()]}


_HEAD_SHAPES: dict[str, Schema] = {
    "table": {"type": "string", "pattern": f"^{_NAME}$", "not": {"pattern": "_s$"}},
    "doc": _PAGE,
    "tier": {"enum": list(TIERS)},
    "params": {
        "type": "object",
        "additionalProperties": {"oneOf": [_PARAMETER, {"type": "array", "items": _PARAMETER, "minItems": 1}]},
    },
    "records": {"type": "string"},
    "rows": {"type": "string", "pattern": f"^{_NAME}$"},
    "key": _TEXTS,
    "also": _TEXTS,
    "events": _TEXTS,
    "partition": {"type": "string", "pattern": r"^month\(\w+\)$"},
    "class": _CLASS,
    "secrets": _TEXTS,
    "ignore": _TEXTS,
    "owners": {
        "type": "object",
        "properties": {"technical": _ADDRESS, "business": _ADDRESS},
        "minProperties": 1,
        "additionalProperties": False,
    },
    "fresh_within_hours": _HOURS,
}

_COLUMN_SHAPES: dict[str, Schema] = {
    "type": {
        "type": "string",
        "pattern": rf"^({'|'.join(SCALARS)}|decimal\(\d+, ?\d+\)|list<.+>|struct\{{.+\}})$",
    },
    "from": {"oneOf": [_TEXT, _TEXTS]},
    "null": {"enum": ["no"]},
    "class": _CLASS,
    "pii": _told(PII),
    "mask": _told(MASKS),
    "refers": {"type": "string", "pattern": r"^\w+\.\w+(\.\w+)?$"},
    "values": _TEXTS,
}

_SOURCE_SHAPES: dict[str, Schema] = {
    "doc": _PAGE,
    "base_url": {"type": "string", "pattern": r"^(https|mongodb)://\S+$"},
    "cadence": {"type": "string", "pattern": r"^\S+( \S+){4}$"},
    "timestamps": {"enum": list(TIME_UNITS)},
    "json": {"enum": ["plain", "extended"]},
    "empty": {"enum": ["text", "none"]},
    "zone": {"type": "string", "pattern": r"^(Z|[+-]\d\d:\d\d)$"},
    "records": {"type": "string"},
    "ignore": _TEXTS,
    "fresh_within_hours": _HOURS,
    "technical_owner": _ADDRESS,
    "business_owner": _ADDRESS,
}
