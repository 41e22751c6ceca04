"""The map Dagster loads: contracts in; assets, checks, jobs, schedules and resources out. No logic lives here."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from datalake import contracts
from datalake.assets.source import selected_tables, source_assets
from datalake.assets.specs import RAW_IO, TREATED_IO
from datalake.automation import observation_job, sync_job, upkeep_job
from datalake.checks import observing_checks
from datalake.io_managers import raw_io_manager, treated_io_manager
from datalake.model import Source
from datalake.resources import lake_resource
from datalake.settings import Settings
from datalake.sources import CONNECTED


def build(sources: Iterable[Source], settings: Settings) -> dg.Definitions:
    """The code location of these sources: their core tables, and those that DATALAKE_TABLES names."""
    chosen = [(source, tables) for source in sources if (tables := selected_tables(source, settings))]
    return dg.Definitions(
        assets=[source_assets(source, tables, settings) for source, tables in chosen],
        asset_checks=[observing_checks(source, tables) for source, tables in chosen],
        schedules=[
            *(sync_job(source, tables, settings) for source, tables in chosen),
            observation_job([table for _, tables in chosen for table in tables], settings),
            upkeep_job(settings),
        ],
        resources={"lake": lake_resource, RAW_IO: raw_io_manager, TREATED_IO: treated_io_manager},
        # A step costs 0.07 CPU s in the run's own process, 1.5 to 6 s in one of its own. Sources run side by side as runs.
        executor=dg.in_process_executor,
    )


_settings = Settings.load()
defs = build([contracts.load_source(name) for name in _settings.names("DATALAKE_SOURCES") or CONNECTED], _settings)
