"""Zoho's own description of its modules and fields, and the columns and tables it makes. Calls and records are elsewhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from datalake.model import SYSTEM_COLUMNS, Column, Source, Table, Type, parse_type, snake_case

TEMPLATE = "custom_module"
"""The contract that tables of modules without a contract are made after."""
FIELDS_A_CALL = 50

# Modules that the records API does not serve, or that only repeat others.
_NO_RECORDS = frozenset(
    [
        "Home",
        "Reports",
        "Analytics",
        "Dashboards",
        "SalesInbox",
        "Feeds",
        "Documents",
        "Forecasts",
        "Social",
        "Activities",
        "Approvals",
        "Projects",
    ]
)
# Subforms of standard modules: their contracts take them from the records that they sit in.
_IN_PARENTS = frozenset(
    ["Quoted_Items", "Ordered_Items", "Purchase_Items", "Invoiced_Items", "Pricing_Details", "Participants"]
)
_MADE_BY_USERS = ("custom", "linking", "subform")

_PERSON = "struct{name:string,id:string,email:string}"
_TYPES = {
    "integer": "int64",
    "boolean": "bool",
    "date": "date",
    "datetime": "timestamp",
    "double": "decimal(25,9)",
    "percent": "decimal(9,4)",
    "multiselectpicklist": "list<string>",
    "lookup": "struct{name:string,id:string}",
    "ownerlookup": _PERSON,
    "userlookup": _PERSON,
}
_TEXTS = frozenset(
    ["text", "textarea", "email", "phone", "website", "picklist", "profileimage", "autonumber", "profilelookup", "bigint"]
)
_ROWS_ELSEWHERE = frozenset(("subform", "multiselectlookup", "multiuserlookup"))
"""A list of records holds them cut short or not at all; their rows are modules of their own."""

_DOCUMENT = re.compile(r"\b(cpf|cnpj|rg)\b", re.IGNORECASE)
_PII = {"email": "email", "phone": "phone", "textarea": "free_text", "profileimage": "image", "imageupload": "image"}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a module as it can be asked for in a list. `kind` is its data type; of a formula what it computes."""

    name: str
    label: str
    kind: str
    decimals: int
    private: bool
    lookup: str
    """API name of the module that it points at; empty for none."""

    @property
    def type(self) -> Type:
        if self.kind in _TEXTS:
            return Type("string")
        if self.kind == "currency":
            return parse_type("decimal(20,4)" if self.decimals <= 4 else "decimal(25,9)")
        return parse_type(_TYPES.get(self.kind, "json"))

    @property
    def pii(self) -> str | None:
        if _DOCUMENT.search(self.label.replace("_", " ")) or _DOCUMENT.search(self.name.replace("_", " ")):
            return "document"
        return _PII.get(self.kind, "person" if self.private else None)


def readable(described: Iterable[dict[str, Any]]) -> list[Field]:
    """The fields that a list can be asked for, out of what `settings/fields` answers, by name."""
    found = []
    for field in described:
        view = field.get("view_type") or {}
        hidden = not field.get("visible", True) or field.get("type") == "unused" or view.get("view") is False
        if hidden or field.get("virtual_field") or field["data_type"] in _ROWS_ELSEWHERE or field["api_name"].startswith("$"):
            continue
        computed = field.get(field["data_type"]) if field["data_type"] in ("formula", "rollup_summary") else None
        lookup = (field.get("lookup") or {}).get("module") or {}
        found.append(
            Field(
                name=field["api_name"],
                label=field.get("display_label") or field.get("field_label") or field["api_name"],
                kind=str((computed or {}).get("return_type") or field["data_type"]),
                decimals=int(field.get("decimal_place") or 0),
                private=bool(field.get("private")),
                lookup=str(lookup.get("api_name") or "") if isinstance(lookup, dict) else "",
            )
        )
    return sorted(found, key=lambda field: field.name)


def passes(names: Collection[str], stamp: str | None) -> list[list[str]]:
    """The names in groups that one call may ask for; the field that tells of changes is in each.

    >>> passes(["a", "b"], None)
    [['a', 'b']]
    >>> [len(group) for group in passes([str(n) for n in range(120)], "0")]
    [50, 50, 22]
    """
    others = [name for name in names if name != stamp]
    each = [stamp] if stamp else []
    size = FIELDS_A_CALL - len(each)
    return [each + others[start : start + size] for start in range(0, len(others), size)] or [each]


def widened(table: Table, fields: Iterable[Field], contract: Collection[str]) -> Table:
    """The table with a column for every field; names that it has already stay. `contract` names the columns of its contract."""
    by_field = {column.field[0]: column for column in table.columns if not column.from_request and len(column.field) == 1}
    named = {column.field[0] for column in table.columns if column.name in contract and not column.from_request}
    taken = {column.name for column in table.columns} | set(SYSTEM_COLUMNS)
    columns = {column.name: column for column in table.columns}
    for field in fields:
        if field.name in named:
            continue
        known = by_field.get(field.name)
        name = known.name if known else _free(snake_case(field.name), taken)
        taken.add(name)
        mask = None if field.pii is None else "hmac" if field.pii in ("document", "email", "phone") else "hide"
        mask = "hide" if mask == "hmac" and field.type.kind != "string" else mask
        columns[name] = Column(name, field.type, field.label, (field.name,), pii=field.pii, mask=mask)
    return replace(table, columns=tuple(columns.values()))


def module_of(table: Table) -> str | None:
    """API name of the module whose records the table holds; None for any other table."""
    if table.rows not in ("modified_since", "module_list"):
        return None
    return table.path.rpartition("/")[2]


def can_be_read(module: dict[str, Any]) -> bool:
    return bool(module.get("api_supported") and module.get("viewable", True)) and module["api_name"] not in _NO_RECORDS


def without_contract(source: Source, modules: Iterable[dict[str, Any]]) -> list[tuple[dict[str, Any], Table]]:
    """Modules that users made, or that came with an extension, each with its table."""
    covered = {module_of(table) for table in source.tables.values()} | _IN_PARENTS
    taken = set(source.tables)
    found = []
    for module in sorted(modules, key=lambda module: str(module["id"])):
        api_name = module["api_name"]
        if not can_be_read(module) or api_name in covered or module.get("generated_type") not in _MADE_BY_USERS:
            continue
        name = snake_case(api_name).lstrip("_")
        if name in taken:
            name = f"cm_{name}"
        if name.endswith("_s"):  # the ending of twins whose sensitive fields are hidden
            name = f"{name}_records"
        name = _free(name, taken)
        taken.add(name)
        label = module.get("plural_label") or module.get("module_name") or api_name
        about = f"{label}: module {api_name} of the CRM."
        template = source.tables[TEMPLATE]
        path = f"/crm/v8/{api_name}"
        found.append((module, replace(template, name=name, like=TEMPLATE, about=about, path=path, rows="modified_since")))
    return found


def _free(name: str, taken: Collection[str]) -> str:
    """The name, or with a number where fields differ by case only.

    >>> _free("cpf", {"cpf"})
    'cpf_2'
    """
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
