"""Generated from the contracts: the list of all tables for people, and the JSON Schemas for editors.

`python -m datalake.contracts.docs` writes them into the checkout; a test tells when they are out of date.
"""

from __future__ import annotations

import json
from pathlib import Path

from datalake import contracts
from datalake.contracts.schema import contract_schema, source_schema
from datalake.model import Table


def tables_page() -> str:
    """docs/tables.md: one line a table."""
    sources = contracts.load()
    every = [table for source in sources.values() for table in source.tables.values()]
    lines = [
        "# All tables",
        "",
        "Generated from the contracts by `make docs`; do not edit.",
        "",
        f"{len(every)} tables of {len(sources)} sources; {sum(table.core for table in every)} of them are core, on by default.",
    ]
    for source in sources.values():
        lines += [
            "",
            f"## {source.title}",
            "",
            f"{source.about} Database `{source.name}`, read at `{source.cadence}` (cron, UTC).",
            "",
            "| table | tier | what one row is | key | class | technical owner | business owner |",
            "|---|---|---|---|---|---|---|",
            *(_line(table) for table in source.tables.values()),
        ]
    return "\n".join(lines) + "\n"


def _line(table: Table) -> str:
    key = ", ".join(table.key) or f"none: {table.no_key}"
    cells = [
        f"[{table.name}]({table.doc})",
        table.tier,
        table.about,
        key,
        str(table.classification),
        table.technical_owner,
        table.business_owner,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def generated() -> dict[Path, str]:
    """Every generated file of the checkout and what it should hold."""
    root = contracts.FOLDER.parent.parent
    return {
        root / "docs" / "tables.md": tables_page(),
        contracts.FOLDER / "contract.schema.json": json.dumps(contract_schema(), indent=2, ensure_ascii=False) + "\n",
        contracts.FOLDER / "source.schema.json": json.dumps(source_schema(), indent=2, ensure_ascii=False) + "\n",
    }


if __name__ == "__main__":
    for file, text in generated().items():
        file.write_text(text, encoding="utf-8")
        print(f"wrote {file}")
