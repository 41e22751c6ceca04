"""What the command line shows: progress, finished steps, tables, findings. What is shown is decided elsewhere."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console as RichConsole
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from datalake.doctor import Finding
    from datalake.model import Table


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of equal keys as a table; a wide screen is assumed where there is none."""
    if not rows:
        click.echo("nothing to show")
        return
    shown = RichTable(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        numeric = all(isinstance(row[name], int | float) and not isinstance(row[name], bool) or row[name] is None for row in rows)
        shown.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row.values()))
    _console().print(shown)


def print_contract(table: Table) -> None:
    """A table's contract for people."""
    console = _console()
    console.print(f"[bold]{table.id}[/bold]  {table.tier}, {table.classification}\n{table.about}\n{table.doc}")
    console.print(f"key: {', '.join(table.key) or table.no_key}")
    console.print(f"owners: {table.technical_owner} (technical), {table.business_owner} (business)\n")
    print_table(
        [
            {
                "column": column.name,
                "type": str(column.type),
                "class": str(column.classification) + (f", {column.pii}" if column.pii else ""),
                "refers": ".".join(column.refers) if column.refers else "",
                "about": column.about + (f" ({column.unit})" if column.unit else ""),
            }
            for column in table.columns
        ]
    )


def print_findings(findings: Sequence[Finding]) -> None:
    """The doctor's findings, one a line, with what to do."""
    signs = {"ok": click.style("ok  ", fg="green"), "warn": click.style("warn", fg="yellow"), "fail": click.style("FAIL", fg="red")}
    for finding in findings:
        click.echo(f"{signs[finding.verdict]}  {finding.subject}: {finding.message}")


def write_result(result: Any, form: str, output: str | None) -> None:
    """An answer of DuckDB or of Athena (both DB-API cursors) as a table, CSV, JSON lines or Parquet."""
    if form == "parquet":
        import pyarrow.parquet as pq

        arrow = result.to_arrow_table() if hasattr(result, "to_arrow_table") else result.as_arrow()
        pq.write_table(arrow, output or sys.stdout.buffer)
        return
    names = [column[0] for column in result.description]
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(open(output, "w", newline="")) if output else sys.stdout  # noqa: PTH123 (a name, or the screen)
        if form == "csv":
            writer = csv.writer(stream)
            writer.writerow(names)
            while rows := result.fetchmany(10_000):
                writer.writerows(rows)
        elif form == "json":
            while rows := result.fetchmany(10_000):
                stream.writelines(
                    json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=str) + "\n" for row in rows
                )
        else:
            rows = result.fetchmany(MOST_ROWS + 1)
            shown = [dict(zip(names, row, strict=True)) for row in rows[:MOST_ROWS]]
            print_table(shown) if shown else click.echo("no rows: " + ", ".join(names))
            if len(rows) > MOST_ROWS:
                click.echo(f"… only the first {MOST_ROWS} rows; --format csv|json|parquet gives all", err=True)


MOST_ROWS = 1000


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("[", r"\[")


def _console() -> RichConsole:
    return RichConsole(width=None if sys.stdout.isatty() else 180, highlight=False)
