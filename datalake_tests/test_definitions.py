"""The code location as Dagster loads it: anywhere, without a setting, a secret, a network or a heavy import."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from datalake import contracts
from datalake.definitions import build
from datalake.settings import SettingError, Settings

ROOT = Path(__file__).parent.parent
HEAVY = ("pandas", "pyarrow", "boto3", "duckdb", "pyiceberg", "requests", "pyathena")


def _python(code: str, folder: Path) -> str:
    """Run code in a process whose environment is empty; returns what it printed."""
    return subprocess.run(
        [sys.executable, "-c", code], env={}, cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def test_loading_imports_nothing_heavy_and_needs_no_environment(tmp_path: Path) -> None:
    code = (
        f"import sys, datalake.definitions as d; d.defs.get_repository_def(); print([m for m in {HEAVY} if m in sys.modules])"
    )
    assert _python(code, tmp_path) == "[]\n"
    assert list(tmp_path.iterdir()) == [], "loading the definitions wrote something"


def test_dagster_validates_them_with_an_empty_environment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(ROOT / "workspace.yaml")]
    done = subprocess.run(command, env={}, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def _tables(defs: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in defs.get_repository_def().asset_graph.get_all_asset_keys()}


def test_core_tables_run_by_default_and_others_by_setting() -> None:
    source = contracts.load_source("stripe")
    core = {name for name, table in source.tables.items() if table.core}
    extended = next(name for name, table in source.tables.items() if not table.core)

    default = _tables(build([source], Settings.load({})))
    assert default == {f"stripe/{prefix}{name}" for name in core for prefix in ("raw_", "", "athena_")}

    more = _tables(build([source], Settings.load({"DATALAKE_TABLES": f"stripe.{extended}"})))
    assert more - default == {f"stripe/raw_{extended}", f"stripe/{extended}", f"stripe/athena_{extended}"}


@pytest.mark.parametrize(
    "values, message",
    [
        ({"DATALAKE_SCHEDULES": "ON"}, "write RUNNING or STOPPED"),
        ({"DATALAKE_CRON_STRIPE": "whenever"}, "DATALAKE_CRON_STRIPE"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build([contracts.load_source("stripe")], Settings.load(values))


def test_secrets_do_not_reach_what_the_ui_loads(tmp_path: Path) -> None:
    code = """
import os
os.environ["STRIPE_API_KEY"] = os.environ["GITHUB_TOKEN"] = "canary-7f3a"
from dagster import serialize_value
from dagster._core.remote_representation.external_data import RepositorySnap
from datalake.definitions import defs
print("canary-7f3a" in serialize_value(RepositorySnap.from_def(defs.get_repository_def())))
"""
    assert _python(code, tmp_path) == "False\n"


def test_the_instance_file_queues_one_run_a_source_and_frees_what_dead_runs_hold(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        concurrency = instance.get_concurrency_config()
        assert concurrency.run_queue_config
        assert concurrency.run_queue_config.tag_concurrency_limits == [
            {"key": "source", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
        ]
        assert concurrency.pool_config.default_pool_limit == 1
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries > 0
        assert not instance.telemetry_enabled
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert settings["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert settings["run_monitoring"]["free_slots_after_run_end_seconds"] > 0


def test_the_workspace_names_this_package() -> None:
    (location,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert location["python_module"]["module_name"] == "datalake.definitions"
