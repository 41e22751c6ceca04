"""When what runs: one job and one schedule a source, the observing checks, and the upkeep of Dagster's own history."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster._utils.schedules import is_valid_cron_string

from datalake import checks
from datalake.assets.upkeep import prune_history
from datalake.model import Layer, Source, Table, job_name
from datalake.settings import SettingError, Settings

OBSERVATIONS = "observations_hourly"
UPKEEP = "upkeep_daily"


def sync_job(source: Source, tables: Sequence[Table], settings: Settings) -> dg.ScheduleDefinition:
    """The job that brings a source's tables through all layers, on its schedule. The `source` tag limits runs."""
    cron = settings.cron(source.name, source.cadence)
    if not is_valid_cron_string(cron):
        raise SettingError(f"DATALAKE_CRON_{source.name.upper()} is '{cron}': write five fields, such as '5 * * * *'")
    name = job_name(source, cron)
    groups = dg.AssetSelection.groups(*(source.group(layer) for layer in Layer))
    job = dg.define_asset_job(
        name,
        # Observations must also be made when the sync fails, so they have a job of their own.
        selection=groups - dg.AssetSelection.checks(*checks.observing_keys(tables)),
        description=f"{source.title}: raw, treated and athena of {len(tables)} tables.",
        tags={"source": source.name},
    )
    return _schedule(job, name, cron, settings)


def observation_job(tables: Sequence[Table], settings: Settings) -> dg.ScheduleDefinition:
    """Freshness and volume of every table, whether its sync ran or not."""
    job = dg.define_asset_job(
        OBSERVATIONS,
        selection=dg.AssetSelection.checks(*checks.observing_keys(tables)),
        description="Freshness and volume of every table.",
    )
    return _schedule(job, OBSERVATIONS, "50 * * * *", settings)


def upkeep_job(settings: Settings) -> dg.ScheduleDefinition:
    """Dagster never deletes a run or its events by itself."""
    return _schedule(prune_history, UPKEEP, "20 3 * * *", settings)


def _schedule(
    job: dg.JobDefinition | dg.UnresolvedAssetJobDefinition, name: str, cron: str, settings: Settings
) -> dg.ScheduleDefinition:
    status = settings["DATALAKE_SCHEDULES"]
    if status not in dg.DefaultScheduleStatus.__members__:
        raise SettingError(f"DATALAKE_SCHEDULES is '{status}': write RUNNING or STOPPED")
    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus[status],
    )
