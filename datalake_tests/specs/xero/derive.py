"""Make `schema.json` from Xero's OpenAPI files: what the lake asks for, as JSON Schema. Run by hand at a new version.

    python datalake_tests/specs/xero/derive.py folder-of-Xero-OpenAPI > datalake_tests/specs/xero/schema.json

The input are the files of github.com/XeroAPI/Xero-OpenAPI (16.1.0, commit e952d0bd). Descriptions and examples are left out.
Where a schema and the example beside it disagree, both are taken (`BOTH`); required fields that are no fields are left out.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

FILES = {
    "api.xro/2.0": "xero_accounting",
    "assets.xro/1.0": "xero_assets",
    "files.xro/1.0": "xero_files",
    "projects.xro/2.0": "xero-projects",
    "": "xero-identity",
}
"""Start of a path on api.xero.com -> file that describes it."""

BOTH: dict[tuple[str, str], Any] = {
    ("BudgetBalance", "Amount"): {"type": ["number", "string"]},
    ("Budgets", "Budgets"): {"anyOf": [{"type": "array", "items": {"$ref": "Budget"}}, {"$ref": "Budget"}]},
}
"""Fields whose examples show another type than the schema says."""

KEPT = {"type", "enum", "format", "items", "nullable", "maxLength"}

PATHS = re.compile(
    r"/(Accounts|BankTransactions|BankTransfers|BatchPayments|BrandingThemes|Budgets(/\{BudgetID\})?|ContactGroups|Contacts|"
    r"CreditNotes|Currencies|ExpenseClaims|Invoices|Items|Journals|LinkedTransactions|ManualJournals|Organisation|"
    r"Overpayments|Payments|PaymentServices|Prepayments|PurchaseOrders|Quotes|Receipts|RepeatingInvoices|Reports(/[A-Z]\w+)?|"
    r"TaxRates|TrackingCategories|Users|\w+/\{\w+ID\}/(Attachments|History)|Assets|AssetTypes|Files|Folders|Projects|"
    r"ProjectsUsers|Projects/\{projectId\}/(Tasks|Time)|Connections)"
)
"""What the lake asks for."""


class Api:
    """One file: its schemas, named with the file's own prefix."""

    def __init__(self, name: str, description: dict[str, Any], definitions: dict[str, Any]) -> None:
        self.name = name
        self.components = description["components"]
        self.paths = description["paths"]
        self.definitions = definitions

    def answer(self, operation: dict[str, Any]) -> Any:
        """The schema of the JSON that the operation answers; None where the file gives none."""
        answer = operation["responses"].get("200", {})
        if "$ref" in answer:
            answer = self.components["responses"][answer["$ref"].rsplit("/", 1)[-1]]
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        return None if schema is None else self.convert(schema)

    def convert(self, schema: dict[str, Any]) -> Any:
        if "$ref" in schema:  # whatever stands beside it counts for nothing
            return self.refer(schema["$ref"].rsplit("/", 1)[-1])
        if "anyOf" in schema:
            return {"anyOf": [self.convert(each) for each in schema["anyOf"]]}
        made: dict[str, Any] = {name: value for name, value in schema.items() if name in KEPT}
        if "items" in made:
            made["items"] = self.convert(made["items"])
        if made.pop("nullable", "false") == "true" or schema.get("nullable") is True:
            made["type"] = [made["type"], "null"]
        made.pop("format", None)
        if "properties" in schema:
            made["type"] = "object"
            made["properties"] = {name: self.convert(each) for name, each in schema["properties"].items()}
            made["additionalProperties"] = False
            required = [name for name in schema.get("required", []) if name in schema["properties"]]
            if required:
                made["required"] = required
        return made

    def refer(self, name: str) -> dict[str, str]:
        safe = f"{self.name}.{name}"
        if safe not in self.definitions:
            self.definitions[safe] = {}
            made = self.convert(self.components["schemas"][name])
            for (owner, field), schema in BOTH.items():
                if owner == name:
                    made["properties"][field] = self.convert(schema)
            self.definitions[safe] = made
        return {"$ref": f"#/$defs/{safe}"}


def main() -> None:
    folder = Path(sys.argv[1])
    definitions: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for base, file in FILES.items():
        description = yaml.safe_load((folder / f"{file}.yaml").read_text())
        api = Api(file, description, definitions)
        for path, operations in api.paths.items():
            if PATHS.fullmatch(path) and "get" in operations:
                where = f"/{base}{path}" if base else path.lower()
                parameters = [
                    api.components["parameters"][each["$ref"].rsplit("/", 1)[-1]] if "$ref" in each else each
                    for each in operations["get"].get("parameters", [])
                ]
                answers[where] = {
                    "schema": api.answer(operations["get"]),
                    "parameters": sorted(each["name"] for each in parameters if each["in"] == "query"),
                }
    schema = {
        "$comment": "Derived from XeroAPI/Xero-OpenAPI 16.1.0 (commit e952d0bd) by derive.py; do not edit.",
        "answers": answers,
        "$defs": definitions,
    }
    json.dump(schema, sys.stdout, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
