"""What the command line shows: progress, finished steps, tables, findings. What is shown is decided elsewhere."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import click
from rich.console import Console as RichConsole
from rich.progress import Progress as RichProgress
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from datalake.redaction import Redaction
from datalake.sources.progress import LogProgress, Progress

if TYPE_CHECKING:
    from datalake.doctor import Finding
    from datalake.model import Table
    from datalake.pipeline import Step


class Report:
    """Tells a sync as it goes: a line a finished step, and meanwhile what is being read."""

    def __init__(self, progress: Progress, *, as_json: bool) -> None:
        self.progress = progress
        self._as_json = as_json

    def step(self, step: Step) -> None:
        """One finished step, as a line."""
        for note in step.notes:
            self.progress.note(step.table.id, note)
        if isinstance(self.progress, BarProgress):
            self.progress.done(step)
        elif self._as_json:
            click.echo(json.dumps(step.facts(), ensure_ascii=False, default=str))
        else:
            click.echo(sentence(step))


class BarProgress:
    """Progress as a live line a table being read, for terminals."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def reading(self, table_id: str, *, rows: int, pages: int, calls: int) -> None:
        if table_id not in self._tasks:
            self._tasks[table_id] = self._bars.add_task(table_id, total=None, detail="")
        self._bars.update(self._tasks[table_id], detail=f"{rows:,} rows, {pages:,} pages, {calls:,} calls")

    def waiting(self, source: str, seconds: float, why: str) -> None:
        if seconds >= 1:
            self._bars.console.print(f"{source}: waiting {seconds:.0f} s: {why}", style="yellow")

    def note(self, table_id: str, text: str) -> None:
        self._bars.console.print(f"{table_id}: {text}", style="yellow", markup=False)

    def done(self, step: Step) -> None:
        """Write the step's line above the bars, and end the table's bar."""
        self._bars.console.print(sentence(step), style="red" if step.error else None, markup=False, highlight=False)
        if step.table.id in self._tasks:
            self._bars.remove_task(self._tasks.pop(step.table.id))


@contextlib.contextmanager
def report(*, as_json: bool, secrets: Iterable[str] = ()) -> Iterator[Report]:
    """Bars for a person at a terminal, plain lines elsewhere: then finished steps go to standard output, all else to errors.

    `secrets` are never shown in log lines, whichever library writes them.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Redaction(secrets))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    if sys.stderr.isatty() and not as_json:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[detail]}"), TimeElapsedColumn())
        with RichProgress(*columns, console=RichConsole(stderr=True), transient=True) as bars:
            yield Report(BarProgress(bars), as_json=False)
        return
    logger = logging.getLogger("datalake.progress")
    logger.setLevel(logging.INFO)
    yield Report(LogProgress(logger), as_json=as_json)


def sentence(step: Step) -> str:
    """A finished step in words."""
    facts = step.facts()
    head = f"{step.table.id:40} {step.layer:8}"
    if step.error is not None:
        return f"{head} FAILED: {step.error}"
    if step.unchanged:
        return f"{head} unchanged"
    shown = {name: value for name, value in facts.items() if isinstance(value, int) and value}
    return f"{head} " + ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in shown.items())


def print_table(rows: Sequence[Mapping[str, Any]], stream: IO[str] | None = None) -> None:
    """Rows of equal keys as a table, to the screen or a file; a wide screen is assumed where there is none."""
    if not rows:
        click.echo("nothing to show", file=stream)
        return
    shown = RichTable(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        numeric = all(
            (isinstance(row[name], int | float) and not isinstance(row[name], bool)) or row[name] is None for row in rows
        )
        shown.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row.values()))
    _console(stream).print(shown)


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
    signs = {
        "ok": click.style("ok  ", fg="green"),
        "warn": click.style("warn", fg="yellow"),
        "fail": click.style("FAIL", fg="red"),
    }
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
            print_table(shown, stream) if shown else click.echo("no rows: " + ", ".join(names), file=stream)
            if len(rows) > MOST_ROWS:
                click.echo(f"… only the first {MOST_ROWS} rows; --format csv|json|parquet gives all", err=True)


MOST_ROWS = 1000


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("[", r"\[")


def _console(stream: IO[str] | None = None) -> RichConsole:
    return RichConsole(file=stream, width=None if stream is None and sys.stdout.isatty() else 180, highlight=False)
