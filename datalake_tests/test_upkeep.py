"""Old runs of Dagster go, and with them their events; what the UI needs of an asset stays."""

import datetime as dt
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from datalake.assets.upkeep import HistoryConfig, delete_runs, prune_history


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's own SQLite storage, as on a laptop."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@dg.asset
def often() -> None: ...


@dg.asset
def once() -> None: ...


def _age(tmp_path: Path, run_id: str, days: int) -> None:
    """A run as if it had ended `days` ago: nothing of Dagster's interface can write the past."""
    then = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=days)
    with sqlite3.connect(tmp_path / "history" / "runs.db") as connection:
        connection.execute("update runs set update_timestamp = ? where run_id = ?", (then.isoformat(" "), run_id))


def _runs(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def test_old_runs_go_with_their_events_and_files(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    first = dg.materialize([often, once], instance=instance)
    old = dg.materialize([often], instance=instance)
    recent = dg.materialize([often], instance=instance)
    for result in (first, old):
        _age(tmp_path, result.run_id, days=31)

    assert delete_runs(instance, dt.datetime.now(dt.UTC) - dt.timedelta(days=30)) == 1

    # `first` is as old as `old`, but holds the newest materialisation of `once`.
    assert _runs(instance) == {first.run_id, recent.run_id}
    assert len(instance.fetch_materializations(often.key, limit=9).records) == 2
    assert not list(tmp_path.glob(f"**/{old.run_id}*"))
    newest = instance.get_latest_materialization_event(once.key)
    assert newest is not None
    assert newest.run_id == first.run_id


def test_a_run_that_still_works_is_never_deleted(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run = instance.create_run_for_job(prune_history, status=dg.DagsterRunStatus.STARTED)
    _age(tmp_path, run.run_id, days=400)
    assert delete_runs(instance, dt.datetime.now(dt.UTC)) == 0
    assert _runs(instance) == {run.run_id}


def test_the_job_keeps_as_many_days_as_it_is_told(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    runs = [dg.materialize([often], instance=instance) for _ in range(3)]
    for result, days in zip(runs, (20, 8, 0), strict=True):
        _age(tmp_path, result.run_id, days)
    result = prune_history.execute_in_process(
        run_config=dg.RunConfig({"prune_runs": HistoryConfig(keep_days=10)}), instance=instance
    )
    assert result.success
    assert _runs(instance) == {runs[1].run_id, runs[2].run_id, result.run_id}
