"""What a task's custom field holds, read through the field's own definition, which every task carries. Nothing is asked here.

A drop-down shows the place of the chosen option (or its id), labels show ids: names are taken from the same row's definition,
because options are renamed and moved later.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec

from datalake.sources.records import Record, inner, pick

TEXTS = frozenset({"text", "short_text", "url", "email", "phone", "string"})
NUMBERS = frozenset({"number", "currency", "emoji", "rating", "formula"})
LISTS = frozenset({"labels", "users", "tasks", "list_relationship"})
PROGRESS = ("percent_completed", "percent_complete", "current")
_NUMBER = re.compile(r"-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?")


class Option(msgspec.Struct):
    id: str | None = None
    name: str | None = None
    label: str | None = None
    orderindex: int | str | None = None


class _Config(msgspec.Struct):
    options: list[Option] | None = None


def read(record: Record) -> dict[str, Any] | None:
    """The value of one field of a task as facts by name (`text`, `number`, `bool`, `timestamp`, `option_id`, `list`, `names`).

    None where the field has no value. What no fact fits is in the raw value alone.
    """
    raw = inner(record, "value")
    if raw is None:
        return None
    (kind,) = pick(record, "type")
    value = msgspec.json.decode(raw)
    if value in ("", []):
        return None
    if kind == "drop_down":
        return _chosen(value, _options(record))
    if kind in LISTS and isinstance(value, list):
        names = {option.id: option.label or option.name for option in _options(record)} if kind == "labels" else {}
        found = [(_id(each), names.get(each) if kind == "labels" else _name(each)) for each in value]
        return {"list": [id_ for id_, _ in found], "names": [name or id_ for id_, name in found]}
    if kind == "checkbox":
        return {"bool": str(value).lower() == "true"} if str(value).lower() in ("true", "false") else {}
    if kind == "date":
        return {"timestamp": str(value)} if re.fullmatch(r"-?\d+", str(value)) else {}
    if kind in NUMBERS:
        return _numeric(raw)
    if kind in ("manual_progress", "automatic_progress") and isinstance(value, dict):
        field = next((name for name in PROGRESS if value.get(name) is not None), "")
        return _numeric(inner(raw, field) or b"") if field else {}
    if isinstance(value, str):
        return {"text": value}
    if kind == "location" and isinstance(value, dict) and isinstance(value.get("formatted_address"), str):
        return {"text": value["formatted_address"]}
    return {}


def _options(record: Record) -> list[Option]:
    config = inner(record, "type_config")
    return (msgspec.json.decode(config, type=_Config).options or []) if config is not None else []


def _chosen(value: Any, options: list[Option]) -> dict[str, Any]:
    """The option that a drop-down's value names, by its id or by its place."""
    found = next((option for option in options if option.id == value), None)
    if found is None:
        found = next((option for option in options if str(option.orderindex) == str(value)), None)
    return {} if found is None else {"option_id": found.id, "text": found.name}


def _numeric(raw: Record) -> dict[str, Any]:
    """A number by its own digits, which a float would change."""
    text = bytes(raw).decode()
    if text.startswith('"'):
        text = msgspec.json.decode(raw).strip()
    return {"number": format(Decimal(text), "f")} if _NUMBER.fullmatch(text) else {"text": text}


def _id(each: Any) -> str:
    return str(each.get("id", "")) if isinstance(each, dict) else str(each)


def _name(each: Any) -> str | None:
    return each.get("username") or each.get("name") or each.get("email") if isinstance(each, dict) else None
