"""What a merge of few changed rows into a large treated table costs: CPU, bytes written, and how both grow with the table.

The statement is the one that treating runs.

    python bench/merge.py                     1 M and 10 M rows, 1,000 changed
    python bench/merge.py --rows 100000 1000000 --changed 1000

Of the changed rows 70 % are updates among the newest tenth, 20 % are new and 10 % are updates spread over all the history,
as a payment system has it; keys rise with time, as Stripe's do, with a random end. The table is compacted after its load, as
upkeep leaves it. Medians of `--repeat` merges after one that is not counted (it imports and connects).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from datalake.lake.lake import Lake
from datalake.lake.sql import relation
from datalake.lake.upkeep import compact
from datalake.model import Classification, Column, Table, parse_type
from datalake.settings import Settings
from datalake.treat.merge import merge_records, pick_newest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

COLUMNS = {
    "id": "string",
    "amount": "int64",
    "amount_refunded": "int64",
    "application_fee_amount": "int64",
    "balance_transaction": "string",
    "created": "timestamp",
    "currency": "string",
    "customer": "string",
    "description": "string",
    "invoice": "string",
    "livemode": "bool",
    "metadata": "json",
    "paid": "bool",
    "payment_method": "string",
    "receipt_email": "string",
    "status": "string",
}

ROWS = """
SELECT 'ch_3' || printf('%04X', n * 50000 // $total) || substr(md5(n::VARCHAR), 1, 16) AS id,
       (hash(n) % 1000000)::BIGINT AS amount,
       CASE WHEN n % 50 = 0 THEN (hash(n) % 1000)::BIGINT ELSE 0 END AS amount_refunded,
       NULL::BIGINT AS application_fee_amount,
       'txn_' || md5('t' || n) AS balance_transaction,
       TIMESTAMP '2024-12-01 00:00:00' + to_seconds((n * 63072000.0 / $total)::BIGINT) AS created,
       ['usd', 'eur', 'brl'][1 + n % 3] AS currency,
       'cus_' || substr(md5('c' || (n % ($total // 20))), 1, 14) AS customer,
       CASE WHEN n % 4 = 0 THEN 'Order ' || n END AS description,
       'in_' || substr(md5('i' || n), 1, 24) AS invoice,
       true AS livemode,
       '{"order":"' || n || '"}' AS metadata,
       n % 30 <> 0 AS paid,
       'pm_' || substr(md5('p' || n), 1, 24) AS payment_method,
       'user' || n % ($total // 20) || '@example.com' AS receipt_email,
       CASE WHEN n % 30 = 0 THEN 'failed' ELSE 'succeeded' END AS status,
       TIMESTAMP '2026-11-22 00:00:00' + to_seconds($step::INTEGER) AS _extracted_at,
       1 + $step::BIGINT AS _raw_commit,
       (hash(n, $step) >> 1)::BIGINT AS _row_hash
"""


def charges() -> Table:
    return Table(
        source="bench",
        name="charges",
        about="Charges.",
        doc="https://docs.stripe.com/api/charges",
        tier="core",
        rows="",
        columns=tuple(Column(name, parse_type(type_), "", (name,)) for name, type_ in COLUMNS.items()),
        key=("id",),
        classification=Classification.INTERNAL,
        technical_owner="",
        business_owner="",
        partition="created",
    )


def change(connection: DuckDBPyConnection, total: int, changed: int, step: int) -> int:
    """Make the temporary tables that treating leaves for its merge: typed lines, newest of each key, parts."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE rows AS {ROWS}, NULL::VARCHAR AS _unmapped FROM (SELECT DISTINCT CASE "
        "WHEN range % 10 < 7 THEN $total * 9 // 10 + (hash(range, $step) >> 1)::BIGINT % ($total // 10) "
        "WHEN range % 10 < 9 THEN $total + $step * $changed + range "
        "ELSE (hash(range, $step) >> 1)::BIGINT % $total END AS n FROM range($changed))",
        {"total": total, "step": step, "changed": changed},
    )
    connection.execute(
        'CREATE OR REPLACE TEMP TABLE lines AS SELECT * EXCLUDE (_extracted_at, _raw_commit), _extracted_at AS "$at", '
        'row_number() OVER () AS "$n", 0 AS "$part", NULL::VARCHAR AS "$op", NULL::VARCHAR AS "$reason" FROM rows'
    )
    connection.execute(
        'CREATE OR REPLACE TEMP TABLE parts AS SELECT 0 AS "$part", any_value(_raw_commit) AS sequence FROM rows'
    )
    pick_newest(connection, charges())
    return int((connection.execute("SELECT count(*) FROM rows").fetchone() or (0,))[0])


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def measure(total: int, changed: int, repeat: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-merge-") as folder:
        lake = Lake(Settings({"DATALAKE_URL": folder}))
        table = charges()
        lake.ensure_table(table)
        connection = lake.connect()
        begun = time.process_time()
        connection.execute(
            f"INSERT INTO {relation(table)} BY NAME {ROWS} FROM (SELECT range AS n FROM range($total))",
            {"total": total, "step": 0},
        )
        load, compaction = time.process_time() - begun, 0.0
        cpu, wall, written = [], [], []
        for step in range(1, repeat + 2):
            given = change(connection, total, changed, step)
            before = files(Path(folder, "treated"))
            begun_cpu, begun = time.process_time(), time.perf_counter()
            connection.execute("BEGIN")
            merge_records(connection, table, anew=False, empty=False)
            connection.execute("COMMIT")
            cpu.append(time.process_time() - begun_cpu)
            wall.append(time.perf_counter() - begun)
            after = files(Path(folder, "treated"))
            written.append(sum(size for path, size in after.items() if path not in before))
            rows, keys, newest = connection.execute(
                f"SELECT count(*), count(DISTINCT id), count(*) FILTER (_raw_commit = {step + 1}) FROM {relation(table)}"
            ).fetchone() or (0, 0, 0)
            if rows != keys or newest != given:
                raise SystemExit(f"wrong after merge {step}: {rows} rows, {keys} keys, {newest} of {given} changed rows")
            if step == 1:
                begun_cpu = time.process_time()
                compact(lake, table)
                compaction = time.process_time() - begun_cpu
        size = sum(files(Path(folder, "treated")).values())
        connection.close()
        lake.close()
    return {
        "rows": total,
        "cpu_s": round(statistics.median(cpu[1:]), 3),
        "wall_s": round(statistics.median(wall[1:]), 3),
        "written_bytes": int(statistics.median(written[1:])),
        "table_bytes": size,
        "load_cpu_s": round(load, 1),
        "compaction_cpu_s": round(compaction, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--changed", type=int, default=1_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    measured = [measure(total, options.changed, options.repeat) for total in options.rows]
    growth = round(measured[-1]["cpu_s"] / measured[0]["cpu_s"], 2)
    print(json.dumps({"bench": "merge", "changed": options.changed, "tables": measured, "growth": growth}))
    for table in measured:
        print(
            f"merge of {options.changed:,} rows into {table['rows']:,}: {table['cpu_s']} CPU s, {table['wall_s']} s, "
            f"{table['written_bytes'] / 1e6:.2f} MB written of {table['table_bytes'] / 1e6:.0f} MB"
        )
    print(f"growth of CPU from the smallest to the largest table: {growth}x (at most 2x)")


if __name__ == "__main__":
    main()
