"""Freshness and volume: what they see, and that they have no opinion where they cannot tell."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import AssetMaterialization, EventLogEntry
from dagster._core.events import DagsterEvent, StepMaterializationData

from datalake import contracts
from datalake.checks import freshness, observing_keys, step_check_specs, volume
from datalake.lake.lake import Lake
from datalake.lake.raw import Commit, now
from datalake.model import Layer, Table
from datalake.settings import Settings
from datalake_tests.dagster_runs import Runs, stripe_runs

CHARGES = contracts.load_source("stripe").tables["charges"]
NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(Settings.load({"DATALAKE_URL": str(tmp_path)}))
    yield lake
    lake.close()


def _commit(lake: Lake, table: Table, sequence: int) -> None:
    lake.log(table).append(
        Commit(sequence, table.source, table.name, run="r", kind="sync", started_at=now(), committed_at=now())
    )


def _publish(lake: Lake, table: Table, sequence: int, at: dt.datetime) -> None:
    """As a publication leaves the table."""
    lake.ensure_table(table)
    with lake.catalog.load_table(table.identifier).transaction() as transaction:
        transaction.set_properties({"datalake.raw_commit": str(sequence), "datalake.published_at": at.isoformat()})


def test_a_table_that_was_never_published_is_not_fresh(lake: Lake) -> None:
    result = freshness(lake, CHARGES, dt.datetime.now(dt.UTC))
    assert not result.passed
    assert result.description == "never published"


def test_a_table_is_as_fresh_as_its_source_was_last_asked(lake: Lake) -> None:
    present = dt.datetime.now(dt.UTC)
    _commit(lake, CHARGES, 1)
    _publish(lake, CHARGES, 1, present - 90 * DAY)
    lake.log(CHARGES).mark_read()  # nothing new since, and the source said so just now

    assert freshness(lake, CHARGES, present).passed
    assert not freshness(lake, CHARGES, present + dt.timedelta(hours=CHARGES.fresh_within_hours + 0.1)).passed


def test_a_table_that_does_not_take_in_what_is_read_grows_old(lake: Lake) -> None:
    present = dt.datetime.now(dt.UTC)
    _publish(lake, CHARGES, 1, present - 3 * DAY)
    for sequence in (1, 2):
        _commit(lake, CHARGES, sequence)
    lake.log(CHARGES).mark_read()
    result = freshness(lake, CHARGES, present)
    assert not result.passed, "the second commit is refused since three days, however often the source is read"
    assert result.metadata["raw_commits_behind"].value == 1


def _received(instance: dg.DagsterInstance, table: Table, at: dt.datetime, rows: int) -> None:
    """A raw materialisation in the past, as the event log holds it."""
    key = dg.AssetKey(list(table.asset_key(Layer.RAW)))
    event = DagsterEvent(
        event_type_value="ASSET_MATERIALIZATION",
        job_name="stripe_hourly",
        event_specific_data=StepMaterializationData(AssetMaterialization(key, metadata={"rows_in": rows})),
    )
    instance.event_log_storage.store_event(
        EventLogEntry(
            error_info=None,
            level=20,
            user_message="",
            run_id="r",
            timestamp=at.timestamp(),
            job_name="stripe_hourly",
            dagster_event=event,
        )
    )


def _history(rows_per_day: list[int]) -> dg.DagsterInstance:
    """Two syncs a day; the last element is the last 24 hours."""
    instance = dg.DagsterInstance.ephemeral()
    for age, rows in enumerate(reversed(rows_per_day)):
        _received(instance, CHARGES, NOON - age * DAY - dt.timedelta(hours=1), rows - rows // 2)
        _received(instance, CHARGES, NOON - age * DAY - dt.timedelta(hours=13), rows // 2)
    return instance


@pytest.mark.parametrize(
    "rows_per_day, passed",
    [
        ([1000, 1100, 900, 1050, 1000, 980], True),
        ([1000, 1100, 900, 1050, 1000, 0], False),
        ([1000, 1100, 900, 1050, 1000, 9000], False),
        ([500_000, 1000, 1100, 900, 1050, 1000], True),  # the first load moves nothing
        ([3, 0, 1, 0, 2, 40], True),  # small tables jump
        ([1000, 2000, 400, 1500, 900, 2600], True),  # a table that varies has a wide band
    ],
)
def test_volume_is_judged_by_the_days_before(rows_per_day: list[int], passed: bool) -> None:
    result = volume(_history(rows_per_day), CHARGES, NOON)
    assert result is not None
    assert result.passed is passed
    assert result.metadata["rows"].value == rows_per_day[-1]


def test_volume_has_no_opinion_without_a_history() -> None:
    assert volume(_history([1000, 1100, 0]), CHARGES, NOON) is None
    assert volume(dg.DagsterInstance.ephemeral(), CHARGES, NOON) is None


def test_gates_block_and_observations_do_not() -> None:
    assert all(spec.blocking for spec in step_check_specs(CHARGES))
    assert {"extracted", "published", "registered"} < {spec.name for spec in step_check_specs(CHARGES)}


def test_observations_run_alone_and_see_a_real_run(tmp_path: Path) -> None:
    with stripe_runs(tmp_path) as runs:
        assert runs.run().success
        results = _observe(runs)
    assert results == {f"{table.name}.freshness": True for table in runs.tables}, "volume has no history yet"


def _observe(runs: Runs) -> dict[str, bool]:
    """The observing checks as the UI's button runs them: no asset is touched."""
    definitions = runs.definitions()
    job = dg.define_asset_job("observe", dg.AssetSelection.checks(*observing_keys(runs.tables)))
    definitions = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
    result = definitions.resolve_job_def("observe").execute_in_process(instance=runs.instance)
    assert result.get_asset_materialization_events() == []
    return {f"{each.asset_key.path[-1]}.{each.check_name}": each.passed for each in result.get_asset_check_evaluations()}
