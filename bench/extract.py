"""Extraction of Stripe-like charges by cursor pages to committed raw, against a bare loop of GET, split and zstd.

Both run as child processes in turn against the same server. CPU seconds are those of the child with its own children.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.servers import serving


def bare(url: str, _folder: str) -> int:
    """The least that can be done: GET, split the page, compress to a file."""
    import msgspec
    import zstandard

    page_type = msgspec.defstruct("Page", [("data", list[msgspec.Raw]), ("has_more", bool)])
    id_type = msgspec.defstruct("Id", [("id", str)])
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    compress = zstandard.ZstdCompressor(level=1).compressobj()
    rows, query, more = 0, "", True
    with Path(_folder, "bare.jsonl.zst").open("wb") as file:
        while more:
            connection.request("GET", f"/v1/charges?limit=100{query}")
            page: Any = msgspec.json.decode(connection.getresponse().read(), type=page_type)
            file.write(compress.compress(b"\n".join(page.data) + b"\n"))
            rows += len(page.data)
            last: Any = msgspec.json.decode(page.data[-1], type=id_type)
            query, more = f"&starting_after={last.id}", page.has_more
        file.write(compress.flush())
    return rows


def charges_by_cursor(run: Any, ask: Any) -> Iterator[Any]:
    """Rows function: all charges, one cursor page after the other."""
    from datalake.sources.base import Checkpoint, Page
    from datalake.sources.paging import Walk
    from datalake.sources.records import pick, split

    walk, params = Walk(), {"limit": 100}
    while True:
        answer = run.http.get(ask.table.id, "/v1/charges", params, cursor=params.get("starting_after"))
        page = split(answer, "data", ("has_more",))
        (last,) = pick(page.records[-1], "id")
        walk.step(answer, page.records, last if page.facts["has_more"] else None)
        yield Page(page.records, answer.at)
        yield Checkpoint({"last": last})
        if not page.facts["has_more"]:
            return
        params["starting_after"] = last


def engine(url: str, folder: str) -> int:
    """The lake's own way: session, budget, checks, raw lines, parts, commits."""
    from datalake.lake.objects import Objects
    from datalake.lake.raw import RawLog
    from datalake.model import Classification, Source, Table
    from datalake.sources.engine import HttpRun, extract
    from datalake.sources.http import Http
    from datalake.sources.progress import LogProgress

    table = Table("stripe", "charges", "", "", "core", "charges", (), ("id",), Classification.INTERNAL, "", "", records="data")
    source = Source("stripe", "", "", "", url, "", "seconds", tables={"charges": table})
    run = HttpRun(source, Http("stripe", url, moved=True), {"charges": charges_by_cursor})
    extraction = extract(run, table, RawLog(Objects(folder), table), run_id="bench", parent=None, progress=LogProgress())
    extraction.commit()
    run.close()
    return sum(commit.rows for commit in extraction.commits)


def _child(way: str, url: str) -> dict[str, float]:
    """Run one way in a process of its own. CPU seconds, memory in MB, rows."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.extract", "--child", way, url, folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "NO_PROXY": "*"})
    return dict(json.loads(done.stdout))


def measure(rows: int = 100_000, repeats: int = 3) -> dict[str, Any]:
    """Medians of `repeats` interleaved runs of both ways."""
    results: dict[str, list[dict[str, float]]] = {"bare": [], "engine": []}
    with serving("pages", rows=rows) as url:
        for _ in range(repeats):
            for way, runs in results.items():
                runs.append(_child(way, url))
    middle = {way: sorted(runs, key=lambda run: run["cpu"])[len(runs) // 2] for way, runs in results.items()}
    assert all(run["rows"] == rows for runs in results.values() for run in runs)
    return {
        "bench": "extract",
        "rows": rows,
        "bare_cpu_s": middle["bare"]["cpu"],
        "engine_cpu_s": middle["engine"]["cpu"],
        "ratio": round(middle["engine"]["cpu"] / middle["bare"]["cpu"], 2),
        "memory_mb": max(run["memory"] for run in results["engine"]),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        count = {"bare": bare, "engine": engine}[sys.argv[2]](*sys.argv[3:])
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu = round(usage.ru_utime + usage.ru_stime, 3)
        print(json.dumps({"cpu": cpu, "memory": round(usage.ru_maxrss / 1024, 1), "rows": count}))
    else:
        result = measure(*map(int, sys.argv[1:]))
        print(json.dumps(result))
        print(
            f"extract of {result['rows']:,} records: {result['engine_cpu_s']:.1f} CPU s against {result['bare_cpu_s']:.1f} "
            f"of the bare loop ({result['ratio']:.2f}x), {result['memory_mb']:.0f} MB"
        )
