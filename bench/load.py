"""Load of Dagster's code location: CPU seconds of a fresh process until it could answer the UI. Core tables, and all tables.

What a code server does is done here: import, repository, and its serialized snapshot with those of all jobs.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
from typing import Any

LIMITS = {"core": 6.0, "all": 12.0}
"""CPU seconds."""


def child() -> dict[str, float]:
    """Load the code location of the environment's settings."""
    from dagster import serialize_value
    from dagster._core.remote_representation.external_data import JobDataSnap, RepositorySnap

    from datalake.definitions import defs

    repository = defs.get_repository_def()
    size = len(serialize_value(RepositorySnap.from_def(repository)))
    for job in repository.get_all_jobs():
        size += len(serialize_value(JobDataSnap.from_job_def(job, include_parent_snapshot=True)))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "memory_mb": round(usage.ru_maxrss / 1024),
        "snapshot_mb": round(size / 1e6, 1),
        "assets": len(repository.asset_graph.get_all_asset_keys()),
        "checks": len(repository.asset_graph.asset_check_keys),
    }


def measure(which: str, repeats: int = 3) -> dict[str, Any]:
    """The median of `repeats` loads of the `core` tables of the connected sources, or of `all` tables that have a contract."""
    from datalake import contracts

    environment = {name: value for name, value in os.environ.items() if not name.startswith("DATALAKE_")}
    if which == "all":
        environment |= {"DATALAKE_SOURCES": ",".join(contracts.SOURCES), "DATALAKE_TABLES": "*"}
    command = [sys.executable, "-W", "ignore", "-m", "bench.load", "--child"]
    runs: list[dict[str, float]] = [
        json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout) for _ in range(repeats)
    ]
    return runs[0] | {"bench": "load", "tables": which, "cpu_s": statistics.median(run["cpu_s"] for run in runs)}


def main() -> None:
    for which, limit in LIMITS.items():
        found = measure(which)
        print(json.dumps(found))
        print(
            f"load of {found['assets']:.0f} assets, {found['checks']:.0f} checks ({which}): {found['cpu_s']:.1f} CPU s "
            f"(at most {limit:.0f}), {found['memory_mb']:.0f} MB, snapshot {found['snapshot_mb']} MB",
            file=sys.stderr,
        )


if __name__ == "__main__":
    if sys.argv[1:] == ["--child"]:
        print(json.dumps(child()))
    else:
        main()
