"""A first contract for a table that has none, from the types found in a sample of its records. Sources take the sample."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from datalake.model import SYSTEM_COLUMNS, snake_case

UPDATED = ("_updatedAt", "updatedAt", "updated_at", "modifiedAt", "modified_at", "lastModified", "last_modified", "_modified")
"""Names under which applications keep when a document was last written, the surest first."""
PERSONAL = {
    "email": r"e_?mails?$",
    "phone": r"(phone|mobile|celular|telefone|whatsapp)(_number)?s?$",
    "document": r"(^|_)(cpf|cnpj|rg|document|documento|passport|ssn)$",
    "name": r"(^|_)(first|last|full)_name$|^(nome|name)$",
    "birth": r"birth|nascimento|(^|_)dob$",
    "ip": r"(^|_)ip(_address)?$",
    "address": r"(^|_)(address|endereco|street|zip(_?code)?|cep)$",
    "location": r"(^|_)(latitude|longitude|geo)$",
    "handle": r"^(user_?name|login)$",
}
"""Kinds of personal data by what a column's name tells; only a person can tell them all."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ ./-]*")
DELETES = "Told by the change stream; without one found by a whole reading every week."


@dataclass(frozen=True)
class Found:
    """What a sample says of one collection. `fields`: name -> type of a contract -> how many records held it (`null`: none)."""

    collection: str
    database: str
    doc: str
    documents: int
    fields: Mapping[str, Mapping[str, int]]
    secrets: Sequence[str]
    scales: Mapping[str, int] = field(default_factory=dict)
    """Most digits behind the point, of fields with decimals."""


@dataclass(frozen=True)
class Proposal:
    """A contract as text, and what a person should look at before it is used."""

    table: str
    text: str
    remarks: list[str]


def propose(found: Found, *, name_database: bool) -> Proposal:
    """The contract. `name_database` says whether the collection lies elsewhere than in the settings' database."""
    remarks = []
    columns: dict[str, str] = {}
    types: dict[str, str] = {}
    for name in sorted(found.fields, key=lambda name: (name != "_id", name)):
        if not name:
            remarks.append("a field without a name is kept in _unmapped")
            continue
        type_, remark = _type(name, found.fields[name], found.scales.get(name, 0))
        if remark:
            remarks.append(f"{name}: {remark}")
        column = _column_name(name, columns)
        types[name] = type_
        words = {"type": type_} | ({"null": "no"} if name == "_id" else {})
        if column != name:
            words["from"] = _text(name) if "." not in name else f"[{json.dumps(name, ensure_ascii=False)}]"
        kind = next((kind for kind, pattern in PERSONAL.items() if re.search(pattern, column)), None)
        if kind and type_ not in ("bool", "timestamp"):
            words["pii"] = kind
            remarks.append(f"{name}: marked as personal data ({kind}) by its name")
        columns[column] = ", ".join(f"{key}: {_text(word) if key == 'type' else word}" for key, word in words.items())
    if found.secrets:
        remarks.append(f"left out as secrets by their names: {', '.join(sorted(found.secrets))}")
    updated = next((name for name in UPDATED if types.get(name) == "timestamp"), None)
    if updated is None:
        remarks.append("no update field was found: without change streams the whole collection is read each time")
    table = table_name(found.collection)
    head = [
        f"table: {table}",
        f"doc: {found.doc}",
        f"about: {_text(f'Documents of the collection {found.collection}.')}",
        "tier: core",
        f"path: {_text(found.collection)}",
        *([f"params: {{database: {_text(found.database)}}}"] if name_database else []),
        "rows: collection",
        "key: [_id]",
        *([f"cursor: {_column_name(updated, {})}"] if updated else []),
        "class: restricted",
        *([f"secrets: [{', '.join(map(_text, sorted(found.secrets)))}]"] if found.secrets else []),
        f"deletes: {DELETES}",
        f"note: {_text(f'Proposed from {found.documents:,} documents; nobody has said yet what its columns mean.')}",
        "columns:",
    ]
    lines = [*head, *(f"  {column}: {{{words}}}" for column, words in columns.items())]
    return Proposal(table, "\n".join(lines) + "\n", remarks)


def table_name(collection: str) -> str:
    """A table's name for a collection's.

    >>> table_name("shop.orderItems"), table_name("logs_s"), table_name("2026")
    ('shop__order_items', 'logs_s_rows', 't_2026')
    """
    name = "__".join(filter(None, (snake_case(part).strip("_") for part in collection.split(".")))) or "unnamed"
    name = name if name[0].isalpha() else f"t_{name}"
    return f"{name}_rows" if name.endswith("_s") else name


def _type(name: str, counts: Mapping[str, int], scale: int) -> tuple[str, str]:
    """One type that takes all that was found, and what to say of it."""
    found = {type_: count for type_, count in counts.items() if type_ != "null"}
    if not found:
        return "json", "was empty in all documents looked at, so it may hold anything"
    told = ", ".join(f"{type_} in {count:,}" for type_, count in sorted(found.items(), key=lambda item: (-item[1], item[0])))
    lists = {type_ for type_ in found if type_.startswith("list<")}
    if "list" in found and len(lists) <= 1 and len(found) == 1 + len(lists):
        return (lists.pop(), "") if lists else ("json", "held empty lists only, so they may hold anything")
    if len(found) == 1:
        type_ = next(iter(found)).partition(" ")[0]
        return (f"decimal(38,{max(scale, 2)})" if type_ == "decimal" else type_), ""
    if set(found) == {"int64", "int64 beyond float64"}:
        return "int64", ""
    if set(found) == {"int64", "float64"}:
        return "float64", ""
    if set(found) <= {"int64", "int64 beyond float64", "decimal"}:
        return f"decimal(38,{max(scale, 2)})", f"holds {told}: kept as decimal, which takes both exactly"
    if name == "_id":
        return "json", f"holds {told}: kept as json, so that a text and an id of the same digits stay two documents"
    return "json", f"holds {told}: kept as json"


def _column_name(name: str, taken: Mapping[str, str]) -> str:
    """The column of a field: of two that differ only in how they are written the second gets a number."""
    plain = re.sub(r"_+", "_", snake_case(name)).rstrip("_") or "field"
    plain = f"{plain}_field" if plain in SYSTEM_COLUMNS else plain
    column, number = plain, 1
    while column in taken:
        number += 1
        column = f"{plain}_{number}"
    return column


def _text(text: str) -> str:
    """A YAML scalar: quoted where it is not plain words."""
    return text if _PLAIN.fullmatch(text) and text == text.strip() else json.dumps(text, ensure_ascii=False)
