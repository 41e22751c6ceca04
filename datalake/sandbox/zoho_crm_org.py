"""What an organisation on the Zoho stand-in is made of: modules and their fields as Zoho describes them, from the contracts.

Records live in `zoho_crm_world`, answers in `zoho_crm`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from datalake.model import Column, Source, Table

Object = dict[str, Any]

ZONE = dt.timezone(dt.timedelta(hours=-3))
PERSON = {"name", "id", "email"}
SUBFORMS = {
    "Quotes": ("Quoted_Items", "quote_line_items"),
    "Sales_Orders": ("Ordered_Items", "sales_order_line_items"),
    "Purchase_Orders": ("Purchase_Items", "purchase_order_line_items"),
    "Invoices": ("Invoiced_Items", "invoice_line_items"),
    "Price_Books": ("Pricing_Details", "price_book_pricing_details"),
}
"""Subforms of standard modules: the field of the record, and the table of its rows."""

CUSTOM_FIELDS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Accounts": (("CNPJ", "CNPJ", "text"), ("Limite_de_Credito", "Limite de crédito", "currency")),
    "Contacts": (("CPF", "CPF", "text"), ("Idiomas", "Idiomas", "multiselectpicklist")),
    "Deals": (("Data_da_Visita", "Data da visita", "date"), ("Desconto_Maximo", "Desconto máximo", "percent")),
    "Leads": (("E_mail_fiscal", "E-mail fiscal", "email"), ("email_Fiscal", "E-mail fiscal (antigo)", "email")),
}
"""Fields that people added to standard modules: API name, label, data type. Two of Leads differ in column name by case only."""

CUSTOM_MODULES: dict[str, tuple[str, str, tuple[tuple[str, str, str], ...]]] = {
    "CustomModule7": (
        "Obras",
        "custom",
        (
            ("Endereco", "Endereço da obra", "textarea"),
            ("Valor_do_Contrato", "Valor do contrato", "currency"),
            ("Inicio", "Início", "date"),
            ("Vistoriada_em", "Vistoriada em", "datetime"),
            ("Entregue", "Entregue", "boolean"),
            ("Andares", "Andares", "integer"),
            ("Cliente", "Cliente", "lookup"),
        ),
    ),
    "Obras_X_Contatos": ("Obras X Contatos", "linking", (("Obra", "Obra", "lookup"), ("Contato", "Contato", "lookup"))),
    "Vistorias": ("Vistorias", "subform", (("Parent_Id", "Obra", "lookup"), ("Nota", "Nota", "integer"))),
}
LATER_MODULE = (
    "Contratos_S",
    ("Contratos S", "custom", (("Numero", "Número", "text"), ("Vigencia_em_Meses", "Vigência em meses", "integer"))),
)
"""A module that somebody makes on the second day. Its name must not become that of a masked twin."""
LATER_FIELDS = {
    "CustomModule7": ("Responsavel_Tecnico", "Responsável técnico", "text"),
    "Deals": ("Canal_de_Origem", "Canal de origem", "picklist"),
}
"""Fields that somebody adds on the second day."""

SYSTEM_FIELDS = ("Name", "Owner", "Created_By", "Modified_By", "Created_Time", "Modified_Time", "Tag")
_PICKLISTS = ("Stage", "Lead_Status", "Lead_Source", "Industry", "Rating", "Priority")
_LOOKUPS = {"Cliente": "Accounts", "Obra": "CustomModule7", "Contato": "Contacts", "Parent_Id": "CustomModule7"}
_DISPLAY = {"Accounts": "Account_Name", "Contacts": "Full_Name", "Leads": "Full_Name", "Deals": "Deal_Name"}


@dataclass
class Module:
    """A module: Zoho's description of it, of its fields, the table that covers it (None for custom ones), and its records."""

    described: Object
    fields: list[Object]
    table: Table | None
    records: dict[str, Object] = field(default_factory=dict)
    tombstones: dict[str, Object] = field(default_factory=dict)
    """What the list of deletions shows."""
    buried: dict[str, Object] = field(default_factory=dict)
    """Records as they were when they were deleted."""

    @property
    def name(self) -> str:
        return str(self.described["api_name"])

    def listed(self) -> set[str]:
        """Fields that a list shows; of subforms it shows nothing."""
        hidden = ("subform",)
        return {each["api_name"] for each in self.fields if each["data_type"] not in hidden and each["visible"]}


def moment(column: Column, seconds: float) -> str:
    """A point in time, or a day, as this organisation's records show it."""
    at = dt.datetime.fromtimestamp(int(seconds), ZONE)
    return at.date().isoformat() if column.type.kind == "date" else at.isoformat()


def stamp(seconds: float) -> str:
    return dt.datetime.fromtimestamp(int(seconds), ZONE).isoformat()


def api_name(table: Table) -> str:
    return table.path.rpartition("/")[2]


def standard(source: Source) -> Iterator[Table]:
    """Tables that hold a module's records; what others refer to comes first."""
    first = (
        "vendors",
        "accounts",
        "contacts",
        "campaigns",
        "products",
        "price_books",
        "deals",
        "leads",
        "quotes",
        "sales_orders",
    )
    tables = [table for table in source.tables.values() if table.rows in ("modified_since", "module_list")]
    yield from sorted(tables, key=lambda table: first.index(table.name) if table.name in first else len(first))


def display_field(name: str, fields: list[Object]) -> str:
    """The field that names a module's records."""
    names = {each["api_name"] for each in fields if each["data_type"] == "text"} or {fields[0]["api_name"]}
    wanted = (_DISPLAY.get(name, ""), "Name", "Subject", f"{name.rstrip('_s')}_Name", "Product_Name", "Service_Name")
    return next((each for each in wanted if each in names), min(names))


def contract_fields(source: Source, table: Table) -> Iterator[tuple[str, str, str, str]]:
    """The fields of a standard module, out of its contract: API name, label, data type, module that it points at."""
    pointed = {
        column.field[0]: column.refers[1]
        for column in table.columns
        if column.refers and len(column.field) == 2 and column.refers[1] in source.tables
    }
    for column in table.columns:
        name = column.field[0]
        if column.from_request or len(column.field) > 1 or name == "id" or name.startswith("$"):
            continue
        target = source.tables[pointed[name]] if name in pointed else None
        module = api_name(target) if target is not None and target.rows == "modified_since" else ""
        yield name, name.replace("_", " "), "picklist" if name in _PICKLISTS else _data_type(column, module), module


def _data_type(column: Column, module: str) -> str:
    kind = column.type.kind
    if kind == "struct":
        inner = {name for name, _ in column.type.fields}
        return "ownerlookup" if inner == PERSON else "lookup" if module or inner == {"name", "id"} else "multi_module_lookup"
    if kind == "decimal":
        return "percent" if column.type.precision < 20 else "currency" if column.type.scale == 4 else "double"
    if kind == "list":
        return "multiselectpicklist" if str(column.type) == "list<string>" else "jsonarray"
    if kind == "string":
        return {"email": "email", "phone": "phone", "free_text": "textarea"}.get(column.pii or "", "text")
    return {"int64": "integer", "bool": "boolean", "date": "date", "timestamp": "datetime"}.get(kind, "jsonobject")


def custom_fields(fields: tuple[tuple[str, str, str], ...], *, linking: bool) -> Iterator[tuple[str, str, str, str]]:
    """The fields of a module that people made. A module of links has no owner and no stamp."""
    kinds = {"Name": "text", "Tag": "text", "Created_Time": "datetime", "Modified_Time": "datetime"}
    for name in ("Created_Time",) if linking else SYSTEM_FIELDS:
        yield name, name.replace("_", " "), kinds.get(name, "ownerlookup"), ""
    for name, label, kind in fields:
        yield name, label, kind, _LOOKUPS.get(name, "")
