"""A few pages of parents, then one call per parent, 80 ms each, 16 at once: the rate without a limit, the use of limits.

`used` is the fewest windows that the work needs, divided by the windows from the first to the last answer.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.servers import serving
from datalake.sources.budget import Budget, Limit
from datalake.sources.http import Http
from datalake.sources.paging import Workers

LATENCY = 0.08
AT_ONCE = 16
PARENT_PAGES = 6
LIMITS = ((40, 2.0, 1600), (5, 1.0, 400), (100, 2.0, 4000))
"""Calls a window, seconds, calls of the work. The last stands for 100 a minute, shortened."""


def run(url: str, calls: int, budget: Budget) -> dict[str, float]:
    """The work by the lake's client; then what the server saw. No call may be lost or doubled."""
    http, workers = Http("bench", url, moved=True, budget=budget), Workers(AT_ONCE)
    for page in range(PARENT_PAGES):
        http.get("bench.parents", f"/parents?page={page}")
    answers = list(workers.each(range(calls), lambda n: http.get("bench.children", f"/children/{n}").body))
    workers.close()
    http.close()
    assert answers == [b'{"id":"%d"}' % n for n in range(calls)]
    with urllib.request.urlopen(f"{url}/stats") as answer:
        stats: dict[str, float] = json.load(answer)
    assert stats["answered"] == calls
    assert stats["doubled"] == 0
    return stats


def free(calls: int, repeats: int) -> dict[str, Any]:
    """Without a limit: the share of the ideal rate, from the first child to the last."""
    shares = []
    for _ in range(repeats):
        with serving("children", latency=LATENCY) as url:
            shares.append(calls / run(url, calls, Budget(concurrency=AT_ONCE))["span"] / (AT_ONCE / LATENCY))
    return {"case": "no limit", "of_ideal": round(statistics.median(shares), 3)}


def limited(calls: int, seconds: float, work: int, tells: str, *, declared: bool, repeats: int) -> dict[str, Any]:
    """Under a limit of `calls` in `seconds`. The repeats run side by side: they mostly wait."""

    def one(_: int) -> dict[str, float]:
        with serving("children", latency=LATENCY, calls=calls, seconds=seconds, tells=tells) as url:
            return run(url, work, Budget([Limit(calls, seconds)] if declared else [], concurrency=AT_ONCE))

    with ThreadPoolExecutor(repeats) as pool:
        results = list(pool.map(one, range(repeats)))
    return {
        "case": f"{calls} per {seconds:g} s, {'declared' if declared else 'told by ' + tells}",
        "calls": work,
        "used": round(statistics.median(math.ceil((PARENT_PAGES + work) / calls) / result["windows"] for result in results), 3),
        "refused": round(statistics.median(result["limited"] / work for result in results), 4),
    }


def measure(repeats: int = 3) -> dict[str, Any]:
    """All cases, over 40 windows where the first and last are only partly used or learning has a price once."""
    cases = [free(600, repeats)]
    for calls, seconds, work in LIMITS:
        cases.append(limited(calls, seconds, work, "headers", declared=False, repeats=repeats))
        cases.append(limited(calls, seconds, work, "retry-after", declared=True, repeats=repeats))
        cases.append(limited(calls, seconds, work, "retry-after", declared=False, repeats=repeats))
    return {"bench": "fanout", "cases": cases}


if __name__ == "__main__":
    result = measure(*map(int, sys.argv[1:]))
    print(json.dumps(result))
    for case in result["cases"]:
        if "of_ideal" in case:
            print(f"{case['case']}: {case['of_ideal']:.0%} of the ideal rate")
        else:
            print(f"{case['case']}: {case['used']:.0%} of the limit used, {case['refused']:.1%} of the calls refused")
