"""Runs of the real assets against a stand-in, for the tests of the Dagster layer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from datalake import contracts
from datalake.assets.source import source_assets
from datalake.assets.specs import RAW_IO, TREATED_IO
from datalake.checks import observing_checks
from datalake.io_managers import raw_io_manager, treated_io_manager
from datalake.model import Source
from datalake.resources import lake_resource
from datalake.sandbox.base import Server, running
from datalake.settings import Settings

TABLES = ("coupons", "balance_transactions", "balance_transaction_fee_details", "charges")
"""A dictionary, a parent, its child, and a table of facts."""


class Runs:
    """A few tables of Stripe, an instance of Dagster in memory, a lake in a folder."""

    def __init__(self, server: Server, folder: Path, instance: dg.DagsterInstance, retry: dg.RetryPolicy | None) -> None:
        self.server = server
        self.folder = folder
        self.source: Source = contracts.load_source("stripe")
        self.tables = [self.source.tables[name] for name in TABLES]
        self.instance = instance
        self._retry = {"retry": retry} if retry else {}

    def definitions(self, more: Sequence[Any] = ()) -> dg.Definitions:
        settings = Settings.load({})
        return dg.Definitions(
            assets=[source_assets(self.source, self.tables, settings, **self._retry), *more],
            asset_checks=[observing_checks(self.source, self.tables)],
            resources={"lake": lake_resource, RAW_IO: raw_io_manager, TREATED_IO: treated_io_manager},
            executor=dg.in_process_executor,
        )

    def run(self, *keys: str, config: dict[str, Any] | None = None, more: Sequence[Any] = ()) -> dg.ExecuteInProcessResult:
        """Materialize these assets (`charges`, `raw_charges`, …), or all of the source."""
        definitions = self.definitions(more)
        names = keys or [f"{prefix}{name}" for name in TABLES for prefix in ("raw_", "", "athena_")]
        return definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            run_config={"ops": {"stripe_sync": {"config": config}}} if config else None,
            instance=self.instance,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(["stripe", name]) for name in names] + [asset.key for asset in more],
        )


@contextmanager
def stripe_runs(folder: Path, retry: dg.RetryPolicy | None = None) -> Iterator[Runs]:
    """Runs against a stand-in of their own, with a lake in `folder`; the environment points there as long."""
    with running("stripe", seed=3, scale=0.1, limits=False) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATALAKE_URL", str(folder / "lake"))
        for name, value in server.env.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.ephemeral() as instance:
            yield Runs(server, folder / "lake", instance, retry)


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Metadata of every materialisation of the run, by the last part of its key."""
    return {
        event.materialization.asset_key.path[-1]: {name: value.value for name, value in event.materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
        for event in [event.event_specific_data]
    }


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """`<asset>.<check>` → passed, for every check the run evaluated."""
    return {f"{each.asset_key.path[-1]}.{each.check_name}": each.passed for each in result.get_asset_check_evaluations()}


def reasons(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """`<asset>.<check>` → description, for every failed check."""
    return {
        f"{each.asset_key.path[-1]}.{each.check_name}": each.description or ""
        for each in result.get_asset_check_evaluations()
        if not each.passed
    }


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the run's failed step says."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None, event.step_failure_data.error
    return str(data.description)


def retries(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.is_step_up_for_retry for event in result.all_events)
