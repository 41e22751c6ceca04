"""From the API to a table people query: a first load, a second sync with 1 % changed, an unchanged sync, a query.

The load is Stripe-like charges by cursor pages from a static server, under the real contract; CPU seconds of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.extract import charges_by_cursor
from bench.servers import serving


def load(url: str, folder: str) -> dict[str, float]:
    """Read, treat and register all charges, then 1 % of them changed. CPU seconds, memory in MB, bytes."""
    from datalake import contracts
    from datalake.lake.lake import Lake
    from datalake.lake.register import register
    from datalake.settings import Settings
    from datalake.sources.base import Ask, Item, Page
    from datalake.sources.engine import HttpRun, extract
    from datalake.sources.http import Http
    from datalake.sources.progress import LogProgress
    from datalake.treat import prepare

    source = contracts.load_source("stripe")
    table = source.tables["charges"]
    lake = Lake(Settings.load({"DATALAKE_URL": folder}))
    log = lake.log(table)

    def changed(_run: HttpRun, _ask: Ask) -> Iterator[Item]:
        """Every hundredth record again, with another description."""
        records = []
        for number, line in enumerate(line for commit in log.since(0) for line in log.lines(commit)):
            if number % 100 == 0:
                record = msgspec.json.decode(line)["record"]
                records.append(msgspec.json.encode(record | {"description": f"changed {number}"}))
        yield Page(records, time.strftime("%Y-%m-%dT%H:%M:%S.999999Z", time.gmtime()))

    def sync(function: Any) -> dict[str, float]:
        begun = _cpu()
        before = _bytes(folder)
        run = HttpRun(source, Http("stripe", url, moved=True), {table.rows: function})
        extraction = extract(run, table, log, run_id="bench", parent=None, progress=LogProgress())
        extraction.commit()
        run.close()
        read = _cpu()
        batch = prepare(lake, table, source=source, run_id="bench")
        assert batch is not None
        assert batch.passed, batch.checks
        batch.commit()
        treated = _cpu()
        registration = register(lake, table)
        return {
            "rows": batch.rows_in,
            "table_rows": registration.rows,
            "extract": read - begun,
            "treat": treated - read,
            "register": _cpu() - treated,
            "written": _bytes(folder) - before,
        }

    first = sync(charges_by_cursor)
    table_bytes = _bytes(folder)
    second = sync(changed)
    lake.close()
    return {
        "rows": first["table_rows"],
        "cpu_s": round(first["extract"] + first["treat"] + first["register"], 2),
        "extract_cpu_s": round(first["extract"], 2),
        "treat_cpu_s": round(first["treat"], 2),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "second_rows": second["rows"],
        "second_cpu_s": round(second["treat"], 2),
        "second_written": round(second["written"] / table_bytes, 4),
    }


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _bytes(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder, "treated").rglob("*.parquet"))


def _child(url: str, folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.endtoend", "--child", url, folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "NO_PROXY": "*"})
    return dict(json.loads(done.stdout.splitlines()[-1]))


def answers(folder: str, repeats: int) -> dict[str, float]:
    """Seconds of `datalake query` and of DuckDB alone (a process that reads the same Parquet files)."""
    folders = Path(folder, "treated", "stripe", "charges").rglob("*.parquet")
    files = [str(path) for path in folders if not path.name.endswith("-deletes.parquet")]
    alone = (
        "import duckdb, json, sys; files = json.loads(sys.argv[1]);"
        "print(duckdb.execute('select currency, sum(amount) from read_parquet(?) group by 1', [files]).fetchall())"
    )
    question = "select currency, sum(amount) from stripe.charges group by 1"
    ways = {
        "duckdb_s": [sys.executable, "-c", alone, json.dumps(files)],
        "query_s": [sys.executable, "-m", "datalake.cli", "query", question],
    }
    return {name: round(_seconds(command, {"DATALAKE_URL": folder}, repeats), 2) for name, command in ways.items()}


def unchanged(repeats: int) -> float:
    """Seconds of `datalake sync stripe` (24 tables) where nothing changed since the last one."""
    from datalake.sandbox.base import running

    with tempfile.TemporaryDirectory() as folder, running("stripe", limits=False) as server:
        environment = {**server.env, "DATALAKE_URL": folder}
        command = [sys.executable, "-m", "datalake.cli", "sync", "stripe"]
        _seconds(command, environment, 1)
        return round(_seconds(command, environment, repeats), 2)


def _seconds(command: list[str], environment: dict[str, str], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        begun = time.monotonic()
        subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, check=True)
        taken.append(time.monotonic() - begun)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    runs = []
    with serving("pages", rows=options.rows) as url:
        for _ in range(options.repeat):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(_child(url, folder) | answers(folder, 3))
    result = {name: statistics.median(run[name] for run in runs) for name in runs[0]} | {"unchanged_s": unchanged(3)}
    print(json.dumps({"bench": "endtoend", **result}))
    print(
        f"API to published table, {result['rows']:,.0f} records: {result['cpu_s']:.1f} CPU s (at most 50 a million), of which "
        f"reading {result['extract_cpu_s']:.1f}, treating {result['treat_cpu_s']:.1f}; {result['memory_mb']:.0f} MB\n"
        f"second sync, {result['second_rows']:,.0f} rows changed: {result['second_cpu_s']:.1f} CPU s to treat, "
        f"{result['second_written']:.1%} of the table's bytes written (at most 5 %)\n"
        f"datalake query: {result['query_s']:.2f} s, DuckDB alone {result['duckdb_s']:.2f} s (at most 1 s more)\n"
        f"datalake sync of an unchanged source: {result['unchanged_s']:.1f} s (at most 5)"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(load(*sys.argv[2:])))
    else:
        main()
