"""Jobs and schedules: what they select, when they fire, what limits them."""

import dagster as dg
import pytest

from datalake import contracts
from datalake.definitions import build
from datalake.settings import Settings


def _definitions(**values: str) -> dg.Definitions:
    return build([contracts.load_source("stripe")], Settings.load(values))


def test_the_runs_of_a_source_carry_the_tag_that_limits_them() -> None:
    assert _definitions().resolve_job_def("stripe_hourly").run_tags["source"] == "stripe"


def test_a_sync_judges_its_gates_and_leaves_observations_to_their_job() -> None:
    definitions = _definitions()

    def checks(job: str) -> set[str]:
        layers = definitions.resolve_job_def(job).asset_layer.data
        return {
            key.name for each in layers for key in each.assets_def.asset_and_check_keys if isinstance(key, dg.AssetCheckKey)
        }

    assert checks("observations_hourly") == {"freshness", "volume"}
    assert {"extracted", "published", "registered"} <= checks("stripe_hourly")
    assert not checks("stripe_hourly") & checks("observations_hourly")


def test_a_cron_setting_moves_the_schedule_and_names_the_job_after_it() -> None:
    schedule = _definitions(DATALAKE_CRON_STRIPE="30 4 * * *").resolve_schedule_def("stripe_daily")
    assert schedule.cron_schedule == "30 4 * * *"
    assert schedule.execution_timezone == "UTC"


@pytest.mark.parametrize("status", ["RUNNING", "STOPPED"])
def test_schedules_start_as_the_setting_says(status: str) -> None:
    for schedule in _definitions(DATALAKE_SCHEDULES=status).get_repository_def().schedule_defs:
        assert schedule.default_status.value == status


def test_a_source_has_a_pool_of_its_own() -> None:
    """Runs started by hand in the UI carry no tag of a job."""
    repository = _definitions().get_repository_def()
    assert {definition.op.pool for definition in repository.assets_defs_by_key.values()} == {"stripe"}


def test_runs_use_one_process() -> None:
    for job in _definitions().get_repository_def().get_all_jobs():
        assert job.executor_def.name == "in_process"
