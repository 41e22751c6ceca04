"""Upkeep of Dagster's own history: old runs go, with their events and logs. The lake's data is kept by `lake.upkeep`."""

import datetime as dt
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from pydantic import Field

PAGE = 1000


class HistoryConfig(dg.Config):
    keep_days: int = Field(30, ge=1, description="Runs that ended longer ago are deleted, with their events and logs.")


@dg.op
def prune_runs(context: dg.OpExecutionContext, config: HistoryConfig) -> None:
    """Delete finished runs that are older than `keep_days`, but never one that holds an asset's newest materialisation."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=config.keep_days)
    deleted = delete_runs(context.instance, before)
    context.add_output_metadata({"runs_deleted": deleted})
    context.log.info(f"{deleted} runs that ended before {before:%Y-%m-%d} deleted")


@dg.job(name="upkeep_daily", description="Delete old runs, their events and logs: Dagster itself never does.")
def prune_history() -> None:
    prune_runs()


def delete_runs(instance: dg.DagsterInstance, before: dt.datetime) -> int:
    """Returns how many runs were deleted."""
    finished = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED], updated_before=before
    )
    old: list[str] = []
    while page := instance.get_run_ids(finished, limit=PAGE, cursor=old[-1] if old else None):
        old.extend(page)
    kept = _newest_runs(instance)
    gone = [run for run in old if run not in kept]
    for run in gone:
        instance.compute_log_manager.delete_logs(prefix=[run])
        instance.delete_run(run)
        _remove_shard(instance, run)
    return len(gone)


def _remove_shard(instance: dg.DagsterInstance, run: str) -> None:
    """Dagster's SQLite history is a file a run; deleting a run's events leaves the file, at its full size."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        shard = Path(storage.path_for_shard(run))
        for file in (shard, shard.with_name(shard.name + "-wal"), shard.with_name(shard.name + "-shm")):
            file.unlink(missing_ok=True)


def _newest_runs(instance: dg.DagsterInstance) -> set[str]:
    """Runs without which an asset would look as if it had never been materialised."""
    keys = instance.get_asset_keys()
    latest = (instance.get_latest_materialization_event(key) for key in keys)
    return {event.run_id for event in latest if event}
