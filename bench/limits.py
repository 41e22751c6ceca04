"""How much of each source's limit a run uses while there is work, and what is refused: the real sources on their stand-ins.

Each source reads tables again and again in one run, all sources side by side: they mostly wait. `used` is the share of the
calls that fit into the windows from the first call to the last. GitHub's hour is made short, a minute is a minute.
"""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from datalake import contracts
from datalake.lake.objects import Objects
from datalake.lake.raw import RawLog
from datalake.model import Source, Table
from datalake.sandbox.base import running
from datalake.settings import Settings
from datalake.sources import open_run
from datalake.sources.base import SourceRun
from datalake.sources.engine import extract
from datalake.sources.progress import LogProgress

NOW = 1_795_036_000
"""The stand-ins' clock, which stands still: far from this machine's, so that nobody takes the one for the other."""


@dataclass(frozen=True)
class Case:
    """A limit of a source: so many calls in so many seconds, of the calls whose path matches `paths`.

    `tables` are read again and again for `work` seconds; `control` is what the stand-in is told before, `settings` go on top
    of its own. With `from_start` the calls that read their parents count too: they open the first window.
    """

    source: str
    calls: int
    seconds: float
    paths: str
    tables: tuple[str, ...]
    how: str = "declared"
    scale: float = 1.0
    control: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    work: float = 15.0
    from_start: bool = False


CASES = (
    Case("conta_azul", 10, 1.0, "/v1/.*", ("pessoas_detalhe", "venda_itens", "vendas_detalhe")),
    Case("stripe", 20, 1.0, "/v1/balance_transactions", ("payout_balance_transactions",)),
    Case("dialog_360", 5, 1.0, r"/hub\.360dialog\.io/.*", ("channel_usage",)),
    Case(
        "github",
        100,
        10.0,
        "/repos/(?!acme/vault/).*",  # the login may not read this one
        ("branches", "labels", "milestones", "releases"),
        "told by headers",
        control={"rate_limit": {"limit": 100, "window": 10, "resource": "core"}},
        work=30.0,
    ),
    Case(
        "clickup",
        100,
        60.0,
        "/api/v2/.*",
        ("task_comments",),
        "told by headers",
        scale=0.2,
        control={"limit": 100, "window": 60},
        work=66.0,
        from_start=True,
    ),
    Case(
        "xero",
        60,
        60.0,
        "/api.xro/.*",
        ("accounts", "budget_balances", "report_balance_sheet", "report_trial_balance"),
        settings={"XERO_TENANTS": "Café Aurora Ltda"},
        work=66.0,
    ),
)


def measure(case: Case) -> dict[str, Any]:
    """One source at work, as its stand-in saw it."""
    source = contracts.load_source(case.source)
    with (
        running(case.source, scale=case.scale, now=NOW) as server,
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(len(case.tables)) as pool,
    ):
        server.control(**case.control)
        settings = Settings.load({"DATALAKE_URL": f"{folder}/lake", **server.env, **case.settings})
        objects = Objects(f"{folder}/lake")
        run = open_run(source, settings, LogProgress())
        try:
            tables = [source.tables[name] for name in case.tables]
            for parent in _parents(source, tables):
                _read(run, source, objects, parent)
            if not case.from_start:
                server.calls(clear=True)
            until = time.monotonic() + case.work
            waited = list(pool.map(lambda table: _again(run, source, objects, table, until), tables))
        finally:
            run.close()
        seen = [call for call in server.calls() if re.fullmatch(case.paths, call["path"])]
    begin = min(call["at"] for call in seen)
    seen = [call for call in seen if call["at"] < begin + case.work]
    answered = [call["at"] for call in seen if call["status"] not in (403, 429)]
    windows = math.floor((max(answered) - begin) / case.seconds) + 1
    return {
        "source": case.source,
        "limit": f"{case.calls} per {case.seconds:g} s, {case.how}",
        "calls": len(answered),
        "seconds": round(max(answered) - begin, 1),
        "used": round(len(answered) / (windows * case.calls), 3),
        "refused": len(seen) - len(answered),
        "waited_s": round(sum(waited), 1),
    }


def _parents(source: Source, tables: list[Table]) -> list[Table]:
    """The tables that these follow, first ones first."""
    found: dict[str, Table] = {}
    for table in tables:
        names = [name for name in (table.parent, *table.also) if name]
        above = [source.tables[name] for name in names]
        for each in [*_parents(source, above), *above]:
            found.setdefault(each.name, each)
    return list(found.values())


def _again(run: SourceRun, source: Source, objects: Objects, table: Table, until: float) -> float:
    """Read a table in full until the time is over; the seconds that its calls waited."""
    before = run.calls(table.id).get("waited", 0.0)
    while time.monotonic() < until:
        _read(run, source, objects, table, full=True)
    return run.calls(table.id).get("waited", 0.0) - before


def _read(run: SourceRun, source: Source, objects: Objects, table: Table, *, full: bool = False) -> None:
    parent = RawLog(objects, source.tables[table.parent]) if table.parent else None
    log = RawLog(objects, table)
    extract(run, table, log, run_id="bench", parent=parent, full=full, progress=LogProgress()).commit()


def figures() -> dict[str, Any]:
    with ThreadPoolExecutor(len(CASES)) as pool:
        return {"bench": "limits", "cases": list(pool.map(measure, CASES))}


if __name__ == "__main__":
    wanted = sys.argv[1:]
    result = {"bench": "limits", "cases": [measure(case) for case in CASES if case.source in wanted]} if wanted else figures()
    print(json.dumps(result))
    for each in result["cases"]:
        print(
            f"{each['source']}, {each['limit']}: {each['calls']} calls in {each['seconds']:.0f} s, {each['used']:.0%} of the "
            f"limit used, {each['refused']} refused, {each['waited_s']:.0f} s waited by calls"
        )
