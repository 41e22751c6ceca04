"""The demo: the whole lake on stand-ins of the source systems, through the same Dagster jobs as in production."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from datalake import contracts
from datalake.model import job_name
from datalake.sandbox.base import Server, running
from datalake.sandbox.fed import fed
from datalake.settings import Settings
from datalake.sources import CONNECTED

SEED = 1
DAYS_BETWEEN = 1

DAGSTER_YAML = Path(__file__).parent.parent / "dagster.yaml"


def run(folder: str) -> None:
    """Two syncs a source, a day apart, into `<folder>/lake`; then tables to look at. Starts from an empty folder."""
    root = Path(folder).absolute()
    _clear(root)
    begun = time.monotonic()
    with stand_ins(root) as servers:
        # Two processes that make Dagster's databases at once trip over each other: they are made before.
        subprocess.run(
            [sys.executable, "-m", "dagster", "instance", "info"],
            env=_environment(root, {}),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        click.secho("1. First sync: every core table from the stand-ins' first day", bold=True)
        _sync(root, servers)
        click.secho(f"\n2. A day passes at the sources; second sync: only what changed ({DAYS_BETWEEN} day)", bold=True)
        for server in servers.values():
            server.advance(days=DAYS_BETWEEN)
        _sync(root, servers)
    click.secho("\n3. Ask the tables", bold=True)
    for sql in QUESTIONS:
        click.echo(f'\n$ datalake query "{sql}"')
        subprocess.run([sys.executable, "-m", "datalake.cli", "query", sql], env=_environment(root, {}), check=True)
    seconds = time.monotonic() - begun
    click.secho(f"\nDone in {seconds:.0f} s. What to look at:", bold=True)
    click.echo(WHAT_TO_LOOK_AT.format(lake=f"{os.path.relpath(root)}/lake"))


WHAT_TO_LOOK_AT = """\
  make ui                                        Dagster's UI: lineage, runs, checks, columns (http://127.0.0.1:3000)
  export DATALAKE_URL={lake} PATH=.venv/bin:$PATH
  datalake status                                rows, freshness, quarantine and cursor of every table
  datalake describe stripe.charges               a table's contract
  datalake query "select * from stripe.charges limit 5"
  ls {lake}/raw/stripe/charges              what was received, and its log of commits

Your own systems:
  datalake connect stripe                        asks for the key, tells which tables it may read
  datalake sync stripe"""

QUESTIONS = (
    "select currency, count(*) charges, sum(amount) minor_units from stripe.charges where paid group by all order by all",
    "select type, currency_code, count(*) invoices, sum(total) total from xero.invoices group by all order by all",
    "select state, count(*) issues, max(updated_at) last_change from github.issues group by all order by all",
)


def serve_ui(folder: str, port: int) -> None:
    """Dagster's UI and daemon on loopback over the demo's lake, with the stand-ins running so that runs can be started."""
    root = Path(folder).absolute()
    if not (root / "lake").is_dir():
        raise click.ClickException(f"{folder}/lake is not there yet: run `make demo` first")
    with stand_ins(root) as servers:
        for server in servers.values():
            server.advance(days=DAYS_BETWEEN)
        environment = _environment(root, {name: value for server in servers.values() for name, value in server.env.items()})
        command = [
            *(sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)),
            *("--module-name", "datalake.definitions"),
        ]
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        click.secho(f"Dagster's UI: http://127.0.0.1:{port}  (Ctrl-C ends it)", bold=True)
        process = subprocess.Popen(command, env=environment, cwd=root, start_new_session=True)
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
        # `dagster dev` should end its own children on SIGINT; they hold nothing that a kill could spoil.
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def stand_ins(root: Path) -> Iterator[dict[str, Server]]:
    """The connected systems' stand-ins, always with the clock of the demo's first start, so that they tell one story."""
    started = root / "started"
    root.mkdir(parents=True, exist_ok=True)
    if not started.exists():
        started.write_text(str(int(time.time())))
    with contextlib.ExitStack() as stack:
        servers = {
            source: stack.enter_context(running(source, seed=SEED, now=int(started.read_text()), limits=False))
            for source in CONNECTED
        }
        for source, server in servers.items():
            settings = Settings.load({**server.env, "DATALAKE_URL": str(root / "lake")})
            stack.enter_context(fed(source, server, settings))
        yield servers


def _sync(root: Path, servers: dict[str, Server]) -> None:
    """Each source's Dagster job, as many side by side as there are cores. Raises ClickException if one fails."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        codes = dict(zip(servers, pool.map(lambda item: _run_job(root, *item), servers.items()), strict=True))
    failed = [source for source, code in codes.items() if code != 0]
    if failed:
        logs = ", ".join(f"{os.path.relpath(root)}/{source}.log" for source in failed)
        raise click.ClickException(f"the job of {' and '.join(failed)} failed; Dagster's log: {logs}")


def _run_job(root: Path, source: str, server: Server) -> int:
    """Run a source's job, keep Dagster's whole log in a file, show the finished steps. Returns the exit code."""
    name = job_name(contracts.load_source(source), contracts.load_source(source).cadence)
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "datalake.definitions", "-j", name]
    environment = _environment(root, server.env) | {"DATALAKE_SOURCES": source}
    with (
        (root / f"{source}.log").open("a") as log,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=root
        ) as process,
    ):
        for line in process.stderr or ():
            log.write(line)
            if match := STEP_LINE.search(line):
                click.echo(f"  {match[1]}")
    return process.returncode


STEP_LINE = re.compile(r" - INFO - .* - ((?:\w+)\.(?:\w+) +(?:raw|treated|athena) .*)")
"""A finished step as the assets log it (`console.sentence`)."""


def _environment(root: Path, of_stand_ins: dict[str, str]) -> dict[str, str]:
    """What the demo's processes see: lake and Dagster's home in the demo's folder, addresses and keys of the stand-ins."""
    home = root / "dagster"
    home.mkdir(exist_ok=True)
    if DAGSTER_YAML.exists():  # an installed package has none beside it: Dagster's defaults do as well
        shutil.copy(DAGSTER_YAML, home / "dagster.yaml")
    return {
        **os.environ,
        **of_stand_ins,
        "DATALAKE_URL": str(root / "lake"),
        "DATALAKE_CATALOG": "sqlite",
        "DAGSTER_HOME": str(home),
    }


def _clear(root: Path) -> None:
    """Remove an earlier demo, and only a demo."""
    if root.exists() and not (root / "started").exists() and any(root.iterdir()):
        raise click.ClickException(f"{root} holds something else than a demo; give another --folder")
    shutil.rmtree(root, ignore_errors=True)
