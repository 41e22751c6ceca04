"""What treating a big raw batch costs beside DuckDB alone reading, deduplicating and writing the same files.

    python -m bench.treat                        1 GB of raw lines, a tenth of the keys with a newer version, 1 GB of memory
    python -m bench.treat --mb 100 --repeat 1

Both run in processes of their own, one after the other, `--repeat` times; medians are told. DuckDB alone is the best that can
be had without knowing a bad row from a good one: `read_json` with explicit columns, keys first, then a semi join, Parquet with
zstd. Treating also tells bad lines one by one (a part with 100 of them lies beside the good ones), merges into an Iceberg table
and checks it. Imports (about 3 CPU s once a process) are not counted on either side.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datalake import contracts
from datalake.lake.lake import Lake
from datalake.lake.raw import Commit, Part, PartWriter, now
from datalake.lake.sql import literal, quote
from datalake.model import Column
from datalake.settings import Settings

LIMIT = 1.25
PART_BYTES = 100_000_000
BAD_LINES = 100

RECORD = (
    '{"id":"ch_3%(key)024d","object":"charge","amount":%(amount)d,"amount_captured":%(amount)d,"amount_refunded":'
    '%(refunded)d,"application":null,"application_fee":null,"application_fee_amount":null,"authorization_code":null,"'
    'balance_transaction":"txn_3%(key)024d","billing_details":{"address":{"city":"São Paulo","country":"BR","line1":"'
    'Rua %(house)d","line2":null,"postal_code":"%(house)05d","state":"SP"},"email":"c%(key)d@example.com","name":"Cli'
    'ente %(key)d","phone":null,"tax_id":null},"calculated_statement_descriptor":"ACME BR","captured":true,"created":'
    '%(created)d,"currency":"brl","customer":"cus_%(customer)014d","description":"Order %(key)d – \\"special\\"\\nsecond'
    ' line","disputed":false,"failure_balance_transaction":null,"failure_code":null,"failure_message":null,"fraud_det'
    'ails":{},"livemode":true,"metadata":{"order_id":"%(key)d","cart":"%(noise)032x"},"on_behalf_of":null,"outcome":{'
    '"advice_code":null,"network_advice_code":null,"network_decline_code":null,"network_status":"approved_by_network"'
    ',"reason":null,"risk_level":"normal","risk_score":%(score)d,"seller_message":"Payment complete.","type":"authori'
    'zed"},"paid":true,"payment_intent":"pi_3%(key)024d","payment_method":"pm_1%(key)024d","payment_method_details":{'
    '"card":{"amount_authorized":%(amount)d,"authorization_code":null,"brand":"visa","checks":{"address_line1_check":'
    '"pass","address_postal_code_check":"pass","cvc_check":"pass"},"country":"BR","exp_month":%(month)d,"exp_year":20'
    '30,"extended_authorization":{"status":"disabled"},"fingerprint":"%(noise)016.16x","funding":"credit","incrementa'
    'l_authorization":{"status":"unavailable"},"installments":null,"last4":"%(score)04d","mandate":null,"multicapture'
    '":{"status":"unavailable"},"network":"visa","network_token":{"used":false},"network_transaction_id":"%(noise)015'
    'd","overcapture":{"maximum_amount_capturable":%(amount)d,"status":"unavailable"},"regulated_status":"unregulated'
    '","three_d_secure":null,"wallet":null},"type":"card"},"radar_options":{},"receipt_email":"c%(key)d@example.com",'
    '"receipt_number":null,"receipt_url":"https://pay.stripe.com/receipts/payment/%(noise)064x%(key)024d","refunded":'
    'false,"review":null,"shipping":null,"source":null,"source_transfer":null,"statement_descriptor":null,"statement_'
    'descriptor_suffix":null,"status":"succeeded","transfer_data":null,"transfer_group":null}'
)


def lines(megabytes: int) -> Iterator[bytes]:
    """Raw lines of charges: first every key once, then newer versions of a tenth of them."""
    rng = random.Random(11)
    each = len(_line(0, 0, 0, rng))
    total = megabytes * 1_000_000 // each
    keys = total * 10 // 11
    newer = sorted(rng.sample(range(keys), total - keys))
    for number, (key, version) in enumerate([*((key, 0) for key in range(keys)), *((key, 1) for key in newer)]):
        yield _line(key, version, number // 100, rng)


def _line(key: int, version: int, page: int, rng: random.Random) -> bytes:
    amount = rng.randrange(100, 500_000)
    record = RECORD % {
        "key": key,
        "amount": amount,
        "refunded": amount * version,
        "house": rng.randrange(99_999),
        "created": 1_700_000_000 + key * 13,
        "customer": key % 50_000,
        "noise": rng.getrandbits(120),
        "score": key % 100,
        "month": 1 + key % 12,
    }
    at = f"2026-11-22T{page // 14400:02d}:{page // 240 % 60:02d}:{page // 4 % 60:02d}.{page % 4 * 250000:06d}Z"
    return f'{{"_lake":{{"at":"{at}","add":{{}}}},"record":{record}}}\n'.encode()


def fill(folder: Path, megabytes: int) -> int:
    """Write the raw commits of stripe.charges; the number of bytes of lines."""
    lake = Lake(Settings({"DATALAKE_URL": str(folder)}))
    table = contracts.load_source("stripe").tables["charges"]
    parts: list[Part] = []
    writer, size, block = PartWriter(lake.objects, table), 0, []
    for line in lines(megabytes):
        block.append(line)
        size += len(line)
        if len(block) == 1000:
            writer.write(b"".join(block), len(block))
            block = []
            if writer.raw_bytes > PART_BYTES:
                parts.append(writer.close())
                writer = PartWriter(lake.objects, table)
    writer.write(b"".join(block), len(block))
    parts.append(writer.close())
    bad = PartWriter(lake.objects, table)
    at = b'{"_lake":{"at":"2026-11-22T00:00:00.000000Z","add":{}},"record":'
    bad.write(b"".join(at + b'{"id":"bad_%d","amount":"1%d,50"}}\n' % (n, n) for n in range(BAD_LINES)), BAD_LINES)
    for sequence, of_commit in enumerate((tuple(parts), (bad.close(),)), 1):
        lake.log(table).append(Commit(sequence, "stripe", "charges", "bench", "full", now(), now(), parts=of_commit))
    lake.close()
    return size


def direct(folder: Path, memory: str) -> dict[str, Any]:
    """DuckDB alone, on the good part of the same files."""
    import duckdb

    table = contracts.load_source("stripe").tables["charges"]
    files = sorted(str(path) for path in folder.glob("raw/stripe/charges/data/*/*.zst") if path.stat().st_size > 10_000)
    connection = duckdb.connect(config={"memory_limit": memory})
    connection.execute(f"SET temp_directory = {literal(str(folder / 'direct'))}")

    def read(members: dict[str, str]) -> str:
        record = "STRUCT(" + ", ".join(f"{quote(name)} {type_}" for name, type_ in members.items()) + ")"
        return (
            f"read_json([{', '.join(map(literal, files))}], format = 'newline_delimited', compression = 'zstd', "
            f"""columns = {{_lake: 'STRUCT("at" TIMESTAMP)', record: {literal(record)}}})"""
        )

    begun = _cpu(), time.perf_counter()
    connection.execute(
        f'CREATE TEMP TABLE keys AS SELECT record.id AS id, max(_lake."at") AS last FROM {read({"id": "VARCHAR"})} GROUP BY ALL'
    )
    rows = ", ".join(
        f"make_timestamp(record.{quote(column.name)} * 1000000)"
        if column.type.kind == "timestamp"
        else f"record.{quote(column.name)}"
        for column in table.columns
    )
    connection.execute(
        f"""COPY (SELECT {rows}, _lake."at" FROM {read({column.name: _direct_type(column) for column in table.columns})}
        SEMI JOIN keys ON record.id = keys.id AND _lake."at" = keys.last)
        TO {literal(str(folder / "direct.parquet"))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 10240)"""
    )
    found = _used(begun)
    [(count,)] = connection.execute(f"SELECT count(*) FROM {literal(str(folder / 'direct.parquet'))}").fetchall()
    return found | {"rows": count}


def _direct_type(column: Column) -> str:
    plain = {"string": "VARCHAR", "int64": "BIGINT", "bool": "BOOLEAN", "timestamp": "BIGINT", "json": "JSON"}
    if column.type.kind == "struct":
        return "STRUCT(" + ", ".join(f"{quote(name)} {plain[type_.kind]}" for name, type_ in column.type.fields) + ")"
    return plain[column.type.kind]


def treated(folder: Path, memory: str) -> dict[str, Any]:
    """The lake's own step, from raw commits to the published table."""
    from datalake.treat import prepare

    source = contracts.load_source("stripe")
    lake = Lake(Settings({"DATALAKE_URL": str(folder), "DATALAKE_MEMORY": memory}))
    lake.ensure_table(source.tables["refunds"])
    connection = lake.connect()
    connection.execute("SELECT count(*) FROM lake.stripe.refunds")
    connection.close()
    begun = _cpu(), time.perf_counter()
    batch = prepare(lake, source.tables["charges"], source=source, run_id="bench")
    assert batch is not None
    batch.commit()
    found = _used(begun)
    assert batch.rows_rejected == BAD_LINES, batch
    lake.close()
    return found | {"rows": batch.table_rows}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _used(begun: tuple[float, float]) -> dict[str, Any]:
    return {
        "cpu_s": round(_cpu() - begun[0], 2),
        "wall_s": round(time.perf_counter() - begun[1], 2),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--child", choices=["direct", "treated"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.child:
        print(json.dumps((direct if options.child == "direct" else treated)(options.folder, options.memory)))
        return
    runs: dict[str, list[dict[str, Any]]] = {"direct": [], "treated": []}
    with tempfile.TemporaryDirectory(prefix="bench-treat-") as folder:
        size = fill(Path(folder), options.mb)
        for _ in range(options.repeat):
            for child, found in runs.items():
                command = [sys.executable, "-W", "ignore", "-m", "bench.treat", "--child", child, "--memory", options.memory]
                out = subprocess.run([*command, "--folder", folder], stdout=subprocess.PIPE, check=True).stdout
                found.append(json.loads(out))
            for made in ("catalog.db", "treated"):
                _remove(Path(folder, made))
    middle = {
        child: {name: statistics.median(run[name] for run in found) for name in found[0]} for child, found in runs.items()
    }
    ratio = round(middle["treated"]["cpu_s"] / middle["direct"]["cpu_s"], 2)
    assert middle["treated"]["rows"] == middle["direct"]["rows"], middle
    print(json.dumps({"bench": "treat", "bytes": size, **middle, "ratio": ratio, "limit": LIMIT, "memory": options.memory}))
    told = {child: f"{found['cpu_s']:.1f} CPU s, {found['memory_mb']:.0f} MB" for child, found in middle.items()}
    print(f"treat of {size / 1e6:,.0f} MB: {told['treated']}; DuckDB alone {told['direct']}; ratio {ratio} (at most {LIMIT})")


def _remove(path: Path) -> None:
    import shutil

    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
