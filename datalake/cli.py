"""The `datalake` command. It only asks and shows: the work is done by the modules it calls.

Heavy imports stand inside the commands, so that `datalake query` and `datalake --help` answer at once.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import sys
import uuid
from typing import IO, TYPE_CHECKING, Any

import click

from datalake.settings import SETTINGS, SettingError, Settings

if TYPE_CHECKING:
    from datalake.model import Source, Table
    from datalake.pipeline import Step
    from datalake.sources.base import Window

DAY = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])


class Failed(click.ClickException):
    """A message for people and exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.secho(f"error: {self.message}", fg="red", err=True, file=file)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="datalake")
def main() -> None:
    """The company's data lake: from the systems' APIs to checked tables you can query."""


@main.command()
@click.argument("what", nargs=-1, metavar="[SOURCE[.TABLE]]…")
@click.option("--all-tables", is_flag=True, help="The extended tables too, not only core and those of DATALAKE_TABLES.")
@click.option("--since", type=DAY, help="Read a stretch of the past again, from here (UTC); the live cursor stays.")
@click.option("--until", type=DAY, help="End of that stretch, exclusive (UTC); default: now.")
@click.option("--full", is_flag=True, help="Forget the cursor and read everything again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a finished step.")
def sync(
    what: tuple[str, ...], all_tables: bool, since: dt.datetime | None, until: dt.datetime | None, full: bool, as_json: bool
) -> None:
    """Read, treat, check, publish and register tables: `datalake sync stripe github.issues`; without names: every source."""
    from datalake.console import report
    from datalake.sources import CONNECTED

    settings = Settings.load()
    chosen = _choose(settings, what or settings.names("DATALAKE_SOURCES") or CONNECTED, everything=all_tables)
    window = _window(since, until)
    if window and full:
        raise click.UsageError("--full reads everything; leave out --since and --until, or --full")
    with report(as_json=as_json, secrets=settings.secrets()) as console:
        failed = 0
        unset = []
        for source, tables in chosen:
            try:
                failed += _sync(settings, source, tables, window=window, full=full, console=console)
            except SettingError as error:
                if len(chosen) == 1:
                    raise
                unset.append(source.name)
                click.secho(f"{source.name}: not read: {error}", fg="red", err=True)
    if failed or unset:
        tables_failed = f"{failed} {'table' if failed == 1 else 'tables'} failed; the others are published"
        raise Failed(tables_failed + (f"; not read for want of a setting: {', '.join(unset)}" if unset else ""))


def _sync(settings: Settings, source: Source, tables: list[Table], *, window: Window | None, full: bool, console: Any) -> int:
    """One source's sync. Returns how many tables failed."""
    from datalake.lake.lake import Lake
    from datalake.pipeline import run_source

    failed = set()
    lake = Lake(settings)
    try:
        steps = run_source(lake, source, tables, run_id=uuid.uuid4().hex, window=window, full=full, progress=console.progress)
        for step in steps:
            _commit(step)
            console.step(step)
            if step.error is not None:
                failed.add(step.table.name)
    finally:
        lake.close()
    return len(failed)


def _commit(step: Step) -> None:
    """Commit a step; a publication that fails is told with the step, and the other tables go on."""
    from contextlib import suppress

    if step.error is None:
        with suppress(Exception):
            step.commit()


@main.command()
@click.argument("sql")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json", "parquet"]), default="table", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="Write here instead of to the screen.")
def query(sql: str, form: str, output: str | None) -> None:
    """Ask the published tables: `datalake query "select count(*) from stripe.charges"`."""
    from datalake.console import write_result

    settings = Settings.load()
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for the screen: give --output FILE")
    if settings.on_aws:
        from datalake.lake.register import athena_query

        write_result(athena_query(settings, sql), form, output)
        return
    import duckdb

    from datalake.lake.register import query_connection

    try:
        write_result(query_connection(settings).execute(sql), form, output)
    except (duckdb.Error, FileNotFoundError) as error:
        raise Failed(str(error)) from error


@main.command()
@click.option("--all", "every", is_flag=True, help="Also tables that are not selected.")
@click.option("--json", "as_json", is_flag=True)
def tables(every: bool, as_json: bool) -> None:
    """List the tables that the lake knows."""
    from datalake import contracts
    from datalake.console import print_table
    from datalake.sources import CONNECTED

    settings = Settings.load()
    rows = [
        {
            "table": table.id,
            "tier": table.tier,
            "selected": source.name in CONNECTED and settings.selected(table.id, table.core),
            "class": str(table.classification),
            "about": table.about,
        }
        for source in contracts.load().values()
        for table in source.tables.values()
    ]
    shown = [row for row in rows if every or row["selected"]]
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        print_table(shown)


@main.command()
@click.argument("table_id", metavar="TABLE")
@click.option("--json", "as_json", is_flag=True)
def describe(table_id: str, as_json: bool) -> None:
    """Show a table: columns (also those that its source told of beyond the contract), key, owners, classification."""
    from datalake.console import print_contract
    from datalake.model import jsonable

    table = _table(Settings.load(), table_id)
    if as_json:
        click.echo(json.dumps(jsonable(table), ensure_ascii=False, indent=1))
    else:
        print_contract(table)


@main.command()
@click.option("--json", "as_json", is_flag=True)
def status(as_json: bool) -> None:
    """Show each table's rows, last publication, freshness, quarantine and cursor."""
    from datalake.console import print_table
    from datalake.status import lake_status

    rows = lake_status(Settings.load())
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, default=str))
    else:
        print_table(rows)


@main.command()
@click.option("--json", "as_json", is_flag=True)
def doctor(as_json: bool) -> None:
    """Check settings, reachability and permissions, with one call a source."""
    from datalake.console import print_findings
    from datalake.doctor import examine

    findings = examine(Settings.load())
    if as_json:
        click.echo(json.dumps([finding.__dict__ for finding in findings], ensure_ascii=False))
    else:
        print_findings(findings)
    if any(finding.verdict == "fail" for finding in findings):
        raise SystemExit(1)


@main.command()
@click.argument("source_name", metavar="SOURCE")
@click.option("--port", default=8765, show_default=True, help="Port on loopback that the browser comes back to.")
@click.option("--no-browser", is_flag=True, help="Show the login's address instead of opening it.")
@click.option("--no-login", is_flag=True, help="Only give the keys: a custom connection needs no login in the browser.")
def connect(source_name: str, port: int, no_browser: bool, no_login: bool) -> None:
    """Log in to a system, keep its keys, and see which tables they may read."""
    from datalake import connect as connecting
    from datalake.secret_store import secret_store
    from datalake.sources import identify
    from datalake.sources.base import SourceError

    settings = Settings.load()
    source = _source(source_name)
    login = connecting.LOGINS[source_name]
    click.echo(f"{source.title}\n  {login.where}")
    if login.authorize and not no_login:
        click.echo(f"  Redirect URI to register there: {connecting.redirect_uri(port)}")
    for name in login.keys + login.optional:
        if settings.values.get(name):
            click.echo(f"{name} is set in the environment or .env: it is used as it is")
        elif name in login.keys:
            connecting.keep(settings, name, click.prompt(name, hide_input=True))
        elif value := click.prompt(f"{name} (empty: none)", default="", show_default=False, hide_input=True):
            connecting.keep(settings, name, value)
    click.echo(f"Secrets are kept in {secret_store(settings).place}")

    def show(url: str) -> None:
        click.echo(f"Log in here: {url}")
        if not no_browser:
            click.launch(url)

    try:
        if login.authorize and not no_login:
            connecting.log_in(settings, source_name, login, port=port, show=show)
        click.secho(identify(source, settings), fg="green")
        tables = list(source.tables.values())
        refused = 0
        for table, reason in connecting.readable(source, settings, tables):
            refused += bool(reason)
            click.echo(f"  {'no ' if reason else 'yes'}  {table.id}{f': {reason}' if reason else ''}")
        click.echo(f"{refused} tables cannot be read with this key" if refused else "Every table can be read")
    except (SourceError, TimeoutError) as error:
        raise Failed(str(error)) from error


@main.command()
@click.option("--ui", is_flag=True, help="Keep the stand-ins running and open Dagster's UI on loopback over the demo's lake.")
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
@click.option("--folder", default="demo", show_default=True, type=click.Path(file_okay=False), help="Where the demo lives.")
def demo(ui: bool, port: int, folder: str) -> None:
    """Run the lake end to end on stand-ins of the source systems: no account, no network."""
    from datalake import demo as demonstration

    if ui:
        demonstration.serve_ui(folder, port)
    else:
        demonstration.run(folder)


@main.group()
def contract() -> None:
    """Contracts in other forms."""


@contract.command("export")
@click.argument("what", nargs=-1, metavar="[SOURCE[.TABLE]]…")
@click.option("--output", "-o", required=True, type=click.Path(file_okay=False), help="Folder for one file a table.")
def contract_export(what: tuple[str, ...], output: str) -> None:
    """Write contracts in the Open Data Contract Standard (ODCS v3.1)."""
    from pathlib import Path

    import yaml

    from datalake import contracts
    from datalake.contracts.odcs import to_odcs

    every = what or tuple(contracts.load())
    count = 0
    for source, chosen in _choose(Settings.load(), every, everything=True):
        folder = Path(output) / source.name
        folder.mkdir(parents=True, exist_ok=True)
        for table in chosen:
            text = yaml.safe_dump(to_odcs(source, table), sort_keys=False, allow_unicode=True)
            (folder / f"{table.name}.odcs.yaml").write_text(text)
            count += 1
    click.echo(f"{count} contracts written to {output}")


@contract.command("propose")
@click.argument("what", metavar="mongodb.COLLECTION")
@click.option("--database", help="Database of the collection; default: that of the settings.")
@click.option("--sample", "size", default=1000, show_default=True, help="Documents to look at, picked by chance.")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="Write here; default: the folder DATALAKE_CONTRACTS.")
def contract_propose(what: str, database: str | None, size: int, output: str | None) -> None:
    """Write a first contract for a collection that has none, from a sample of its documents."""
    from pathlib import Path

    from datalake import contracts
    from datalake.contracts.propose import Found, propose
    from datalake.sources.base import SourceError
    from datalake.sources.mongodb import open_run
    from datalake.sources.mongodb_sample import sample
    from datalake.sources.progress import LogProgress

    source_name, _, collection = what.partition(".")
    if source_name != "mongodb" or not collection:
        raise click.UsageError("contracts are proposed for collections of MongoDB: write mongodb.<collection>")
    source, settings = contracts.load_source("mongodb"), Settings.load()
    known = next((table.id for table in source.tables.values() if table.path == collection and not database), None)
    if known:
        raise Failed(f"{collection} has a contract: {known}. `datalake describe {known}` shows it")
    run = open_run(settings, source, LogProgress())
    try:
        found = sample(run, database or run.database_or_refuse(), collection, size)
    except SourceError as error:
        raise Failed(str(error)) from error
    finally:
        run.close()
    told = Found(collection, found.database, source.doc, found.documents, found.fields, sorted(found.secrets), found.scales)
    proposal = propose(told, name_database=found.database != run.database)
    own = contracts.own_folder()
    file = Path(output) if output else own / "mongodb" / f"{proposal.table}.yaml" if own else None
    if file is None:
        click.echo(proposal.text, nl=False)
        click.echo("set DATALAKE_CONTRACTS to a folder, and the contract is written there and used", err=True)
    elif file.exists():
        raise Failed(f"{file} is there already; remove it, or name another file with --output")
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(proposal.text)
        click.echo(f"{file}: {len(told.fields)} fields of {found.documents:,} of {found.total:,} documents", err=True)
    for remark in proposal.remarks:
        click.echo(f"  {remark}", err=True)


@main.group()
def catalog() -> None:
    """The lake's Iceberg catalog for other engines."""


@catalog.command("serve")
@click.option("--port", default=8181, show_default=True)
def catalog_serve(port: int) -> None:
    """Serve the Iceberg REST catalog on loopback, for Spark, Trino, Polars or another DuckDB."""
    from datalake.lake.catalog import serve
    from datalake.lake.lake import Lake

    lake = Lake(Settings.load())
    try:
        serve(lake, port)
    finally:
        lake.close()


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8360, show_default=True)
def webhooks(host: str, port: int) -> None:
    """Receive webhooks and keep them in the lake: POST /<source>[/channel][/token] (docs/webhooks.md)."""
    from datalake.webhooks.server import serve

    serve(Settings.load(), host, port, lambda url: click.echo(f"receiving webhooks at {url}  (Ctrl-C ends it)"))


@main.command("settings")
def show_settings() -> None:
    """List every setting, whether it is set, and what it does. Secrets are never shown."""
    from datalake.console import print_table

    settings = Settings.load()
    print_table(
        [
            {
                "setting": setting.name,
                "value": ("(set)" if settings.values.get(setting.name) else "") if setting.secret else settings[setting.name],
                "about": setting.about,
            }
            for setting in SETTINGS
        ]
    )


def _source(name: str) -> Source:
    from datalake import contracts
    from datalake.sources import CONNECTED

    if name not in CONNECTED:
        raise Failed(f"no source '{name}'; there are {', '.join(CONNECTED)}")
    return contracts.load_source(name)


def _table(settings: Settings, table_id: str) -> Table:
    """A table by its contract and, where the lake exists, by what its source told of it."""
    from pathlib import Path

    from datalake import contracts
    from datalake.lake.lake import Lake

    source_name, _, name = table_id.partition(".")
    source = contracts.load().get(source_name)
    if source is not None and (settings.lake_url.startswith("s3://") or Path(settings.lake_url).is_dir()):
        lake = Lake(settings)
        if name in source.tables:
            return lake.as_read(source.tables[name])
        found = {table.name: table for table in lake.found(source)}
        if name in found:
            return found[name]
    if source is None or name not in source.tables:
        raise Failed(f"no table '{table_id}'; `datalake tables --all` lists them")
    return source.tables[name]


def _choose(settings: Settings, what: tuple[str, ...], everything: bool = False) -> list[tuple[Source, list[Table]]]:
    """Sources and tables by name: `stripe` means its selected tables, `stripe.charges` that table, patterns are allowed."""
    from datalake import contracts

    known = contracts.load()
    chosen: dict[str, dict[str, Table]] = {}
    for name in what:
        source_name, _, pattern = name.partition(".")
        source = known.get(source_name)
        if source is None:
            raise Failed(f"no source '{source_name}'; there are {', '.join(known)}")
        found = {
            table.name: table
            for table in source.tables.values()
            if (fnmatch.fnmatchcase(table.name, pattern) if pattern else everything or settings.selected(table.id, table.core))
        }
        if not found:
            raise Failed(f"no table matches '{name}'; `datalake tables --all` lists them")
        chosen.setdefault(source_name, {}).update(found)
    return [(known[name], list(tables.values())) for name, tables in chosen.items()]


def _window(since: dt.datetime | None, until: dt.datetime | None) -> Window | None:
    from datalake.sources.base import Window

    if since is None:
        if until is not None:
            raise click.UsageError("--until needs --since")
        return None
    end = until.replace(tzinfo=dt.UTC) if until else dt.datetime.now(dt.UTC)
    start = since.replace(tzinfo=dt.UTC)
    if start >= end:
        raise click.UsageError(f"--since {start:%Y-%m-%d} is not before --until {end:%Y-%m-%d}")
    return Window(start, end)


def entry() -> None:
    """Entry point: settings that are wrong end in one line, not in a traceback."""
    try:
        main()
    except SettingError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    entry()
