"""The whole asset graph as a reviewed file: a change shows in graph.txt what it does to keys, dependencies, owners and checks.

After a change that is meant: `python -m datalake_tests.test_graph` writes the file anew.
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster import AssetsDefinition

from datalake import contracts
from datalake.definitions import build
from datalake.settings import Settings
from datalake.sources import CONNECTED

SNAPSHOT = Path(__file__).with_name("graph.txt")


def _graph(defs: dg.Definitions) -> Iterator[str]:
    """Every asset with its checks (`!` marks a gating one), then every job with its schedule."""
    repository = defs.get_repository_def()
    checks: dict[dg.AssetKey, list[str]] = {}
    for key in repository.asset_graph.asset_check_keys:
        spec = repository.asset_graph.get_check_spec(key)
        checks.setdefault(key.asset_key, []).append(key.name + "!" * spec.blocking)
    for key in sorted(repository.asset_graph.get_all_asset_keys(), key=lambda key: key.path):
        definition = repository.assets_defs_by_key[key]
        yield _asset(definition, definition.get_asset_spec(key), sorted(checks.get(key, [])))
    schedules = {schedule.job_name: schedule for schedule in repository.schedule_defs}
    for job in sorted(repository.get_all_jobs(), key=lambda job: job.name):
        if job.name in schedules:
            schedule = schedules[job.name]
            when = f"'{schedule.cron_schedule}' {schedule.execution_timezone} {schedule.default_status.value}"
            tags = ", ".join(f"{name}={value}" for name, value in sorted(job.tags.items()))
            chosen = [key for step in job.asset_layer.data for key in step.assets_def.asset_and_check_keys]
            assets = sum(isinstance(key, dg.AssetKey) for key in chosen)
            yield (
                f"job {job.name}: {assets} assets, {len(chosen) - assets} checks; "
                f"tags {tags or 'none'}; executor {job.executor_def.name}; "
                f"schedule {schedule.name} {when}"
            )


def _asset(definition: AssetsDefinition, spec: dg.AssetSpec, checks: list[str]) -> str:
    tags = [f"{name}={value}" for name, value in sorted(spec.tags.items()) if not name.startswith("dagster/")]
    facts = {
        "from": [dep.asset_key.to_user_string() for dep in spec.deps],
        "group": [spec.group_name or ""],
        "kinds": sorted(spec.kinds),
        "owners": list(spec.owners),
        "tags": tags,
        "fresh": [str(spec.freshness_policy.fail_window.to_timedelta())] if spec.freshness_policy else [],
        "checks": checks,
        "step": [f"{definition.op.name} (pool {definition.op.pool})"],
    }
    return f"{spec.key.to_user_string()}\n" + "\n".join(
        f"  {name}: {', '.join(values)}" for name, values in facts.items() if values
    )


def graph() -> str:
    settings = Settings.load({})
    return "\n".join(_graph(build([contracts.load_source(name) for name in CONNECTED], settings))) + "\n"


def test_the_graph_is_the_reviewed_one() -> None:
    assert graph() == SNAPSHOT.read_text(), "if the change is meant: python -m datalake_tests.test_graph, and review graph.txt"


if __name__ == "__main__":
    SNAPSHOT.write_text(graph())
