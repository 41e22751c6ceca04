"""A first load from MongoDB into committed raw, against a plain pymongo cursor turned into JSON lines by the same client.

Each way runs as a process of its own, in turn, against the same server (SecantusDB, not counted). CPU seconds are those of the
client with its own children, memory is its peak. Ways: `lake` the whole road into raw parts; `json_util` documents written by
`bson.json_util.dumps`, which keeps every type; `json` written by `json.dumps(default=str)`, which loses most of them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bson import json_util
from pymongo import MongoClient

from datalake.sandbox.mongodb_server import Server

BATCH = 10_000


def message(number: int, chance: random.Random) -> dict[str, Any]:
    """A Rocket.Chat-like message of about 470 bytes."""
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=7 * number, milliseconds=chance.randrange(1000))
    someone = f"{chance.getrandbits(68):017x}"
    return {
        "_id": f"{chance.getrandbits(68):017x}",
        "rid": f"{chance.getrandbits(68):017x}",
        "msg": f'Olá "mundo" número {number}, tudo bem com o pedido?\nAbraço',
        "ts": at,
        "u": {"_id": someone, "username": f"user{number % 500}", "name": f"João Silva {number % 500}"},
        "urls": [],
        "mentions": [{"_id": f"{chance.getrandbits(68):017x}", "username": "x"}],
        "channels": [],
        "md": [{"type": "PARAGRAPH", "value": [{"type": "PLAIN_TEXT", "value": f"Olá mundo número {number}"}]}],
        "tcount": number % 7,
        "groupable": False,
        "_updatedAt": at + dt.timedelta(seconds=3),
    }


def lake(url: str, folder: str) -> int:
    """The lake's own way: ranges side by side, exact Extended JSON, raw lines, compressed parts, commits."""
    from datalake import contracts
    from datalake.lake.objects import Objects
    from datalake.lake.raw import RawLog
    from datalake.settings import Settings
    from datalake.sources import open_run
    from datalake.sources.engine import extract
    from datalake.sources.progress import LogProgress

    source = contracts.load_source("mongodb")
    table = source.tables["messages"]
    run = open_run(source, Settings.load({"MONGODB_URL": url, "MONGODB_DATABASE": "bench"}), LogProgress())
    done = extract(run, table, RawLog(Objects(folder), table), run_id="bench", parent=None, progress=LogProgress())
    done.commit()
    run.close()
    return done.rows


def cursor(url: str, folder: str, dumps: Callable[[Any], str]) -> int:
    """The plain way: one cursor, a line a document."""
    rows = 0
    with MongoClient(url) as client, Path(folder, "lines.jsonl").open("w") as file:
        for document in client.bench.rocketchat_message.find():
            file.write(dumps(document) + "\n")
            rows += 1
    return rows


WAYS: dict[str, Callable[[str, str], int]] = {
    "lake": lake,
    "json_util": lambda url, folder: cursor(url, folder, json_util.dumps),
    "json": lambda url, folder: cursor(url, folder, lambda document: json.dumps(document, default=str)),
}


def _child(way: str, url: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.mongodb", "--child", way, url, folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "NO_PROXY": "*"})
    return dict(json.loads(done.stdout))


def measure(rows: int, repeats: int) -> dict[str, Any]:
    """Medians by CPU seconds of `repeats` interleaved runs of each way; the CPU seconds of a run include Python's start."""
    server = Server()
    try:
        server.start("--cache-size", "1G", login=False)
        url = f"mongodb://127.0.0.1:{server.port}/"
        chance = random.Random(1)
        with server.client(login=False) as client:
            for start in range(0, rows, BATCH):
                made = [message(number, chance) for number in range(start, min(start + BATCH, rows))]
                client.bench.rocketchat_message.insert_many(made, ordered=False)
        results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(repeats):
            for way, runs in results.items():
                runs.append(_child(way, url))
    finally:
        server.stop()
    assert all(run["rows"] == rows for runs in results.values() for run in runs)
    middle = {way: sorted(runs, key=lambda run: run["cpu"])[len(runs) // 2] for way, runs in results.items()}
    a_second = {way: rows / run["cpu"] for way, run in middle.items()}
    return {
        "bench": "mongodb",
        "rows": rows,
        "rows_a_cpu_second": {way: round(each) for way, each in a_second.items()},
        "ratio_to_json_util": round(a_second["lake"] / a_second["json_util"], 2),
        "ratio_to_json": round(a_second["lake"] / a_second["json"], 2),
        "memory_mb": max(run["memory"] for run in results["lake"]),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        count = WAYS[sys.argv[2]](*sys.argv[3:])
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu = round(usage.ru_utime + usage.ru_stime, 3)
        print(json.dumps({"cpu": cpu, "memory": round(usage.ru_maxrss / 1024, 1), "rows": count}))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--rows", type=int, default=500_000)
        parser.add_argument("--repeat", type=int, default=3)
        options = parser.parse_args()
        result = measure(options.rows, options.repeat)
        print(json.dumps(result))
        told = result["rows_a_cpu_second"]
        print(
            f"first load of {result['rows']:,} documents: {told['lake']:,} rows a CPU second, "
            f"{result['ratio_to_json_util']:.1f}x a cursor with json_util ({told['json_util']:,}), "
            f"{result['ratio_to_json']:.1f}x one with json.dumps, which loses types ({told['json']:,}); "
            f"{result['memory_mb']:.0f} MB"
        )
