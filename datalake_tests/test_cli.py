"""The command line, as people and scripts use it: real processes against a stand-in."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from datalake.sandbox.base import Server, running


def datalake(*arguments: str, env: dict[str, str], code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "datalake.cli", *arguments]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("stripe", seed=5, scale=0.1, limits=False) as server:
        yield server


@pytest.fixture(scope="module")
def env(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A lake with two tables of the stand-in."""
    env = {**server.env, "DATALAKE_URL": str(tmp_path_factory.mktemp("lake"))}
    datalake("sync", "stripe.products", "stripe.prices", env=env)
    return env


def test_a_wrong_key_says_so_once_and_does_not_show_it(server: Server, tmp_path: Path) -> None:
    env = {**server.env, "STRIPE_API_KEY": "rk_live_canary_5f2c", "DATALAKE_URL": str(tmp_path)}
    done = datalake("sync", "stripe.products", env=env, code=1)
    told = done.stdout + done.stderr
    assert "stripe.products" in told
    assert "401" in told
    assert "canary_5f2c" not in told


def test_a_missing_key_names_the_setting(tmp_path: Path) -> None:
    done = datalake("sync", "stripe.products", env={"DATALAKE_URL": str(tmp_path)}, code=2)
    assert "STRIPE_API_KEY is not set" in done.stderr
    assert "Traceback" not in done.stderr


def test_steps_as_json_lines(server: Server, tmp_path: Path) -> None:
    env = {**server.env, "DATALAKE_URL": str(tmp_path)}
    steps = [json.loads(line) for line in datalake("sync", "stripe.products", "--json", env=env).stdout.splitlines()]
    assert [step["layer"] for step in steps] == ["raw", "treated", "athena"]
    assert steps[0]["rows"] == steps[1]["inserted"] == steps[2]["rows"] > 0


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "table"])
def test_query_in_every_form(env: dict[str, str], tmp_path: Path, form: str) -> None:
    file = tmp_path / f"out.{form}"
    datalake("query", "select id, active from stripe.products order by id", "--format", form, "-o", str(file), env=env)
    expected = datalake("query", "select id from stripe.products order by id", "--format", "json", env=env).stdout
    ids = [json.loads(line)["id"] for line in expected.splitlines()]
    assert ids
    match form:
        case "csv":
            assert [row["id"] for row in csv.DictReader(io.StringIO(file.read_text()))] == ids
        case "json":
            assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == ids
        case "parquet":
            assert pq.read_table(file)["id"].to_pylist() == ids
        case "table":
            assert all(each in file.read_text() for each in ids)


def test_a_wrong_query_is_one_line(env: dict[str, str]) -> None:
    done = datalake("query", "select nothing from stripe.products", env=env, code=1)
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lake_without_tables_says_what_to_run(tmp_path: Path) -> None:
    done = datalake("query", "select 1", env={"DATALAKE_URL": str(tmp_path)}, code=1)
    assert "datalake sync" in done.stderr


def test_status_tells_rows_and_freshness(env: dict[str, str]) -> None:
    rows = {row["table"]: row for row in json.loads(datalake("status", "--json", env=env).stdout)}
    assert rows["stripe.products"]["rows"] > 0
    assert rows["stripe.products"]["behind"] == 0
    assert rows["stripe.products"]["freshness"].endswith("min")
    assert rows["stripe.charges"]["freshness"] == "never read"


def test_describe_and_tables(env: dict[str, str]) -> None:
    described = json.loads(datalake("describe", "stripe.charges", "--json", env=env).stdout)
    assert described["key"] == ["id"]
    assert {"name": "amount", "type": "int64"}.items() <= next(c for c in described["columns"] if c["name"] == "amount").items()
    listed = json.loads(datalake("tables", "--all", "--json", env=env).stdout)
    assert len(listed) == 508
    assert sum(row["selected"] for row in listed) == 198


def test_a_table_that_is_not_there(env: dict[str, str]) -> None:
    assert "no table 'stripe.chargers'" in datalake("describe", "stripe.chargers", env=env, code=1).stderr
    assert "no source 'sap'" in datalake("sync", "sap", env=env, code=1).stderr


def test_a_source_without_its_keys_is_told_and_stops_no_other(env: dict[str, str]) -> None:
    assert "XERO_CLIENT_ID is not set" in datalake("sync", "xero", env=env, code=2).stderr
    both = datalake("sync", "xero", "stripe.coupons", env=env, code=1)
    assert "xero: not read: XERO_CLIENT_ID is not set" in both.stderr
    assert "not read for want of a setting: xero" in both.stderr
    assert "stripe.coupons" in both.stdout


def test_all_tables_are_the_extended_ones_too(env: dict[str, str]) -> None:
    done = datalake("sync", "stripe.shipping_*", "--all-tables", "--json", env=env)
    assert {json.loads(line)["table"] for line in done.stdout.splitlines()} == {"stripe.shipping_rates"}


def test_the_doctor_finds_the_missing_key_and_a_good_lake(env: dict[str, str]) -> None:
    findings = {each["subject"]: each for each in json.loads(datalake("doctor", "--json", env=env).stdout)}
    assert findings["lake"]["verdict"] == findings["catalog"]["verdict"] == findings["stripe"]["verdict"] == "ok"
    assert findings["github"]["verdict"] == "warn"
    assert "GITHUB_TOKEN" in findings["github"]["message"]


def test_the_doctor_fails_on_a_wrong_key(env: dict[str, str]) -> None:
    findings = json.loads(datalake("doctor", "--json", env={**env, "STRIPE_API_KEY": "rk_live_wrong"}, code=1).stdout)
    assert next(each for each in findings if each["subject"] == "stripe")["verdict"] == "fail"


def test_a_window_needs_its_start(env: dict[str, str]) -> None:
    assert "--until needs --since" in datalake("sync", "stripe.products", "--until", "2026-01-01", env=env, code=2).stderr


def test_settings_show_no_secret(env: dict[str, str]) -> None:
    assert env["STRIPE_API_KEY"] not in datalake("settings", env=env).stdout


def test_log_lines_of_any_library_hide_secrets() -> None:
    code = (
        "import logging\n"
        "from datalake.console import report\n"
        "with report(as_json=True, secrets=['canary_77']): logging.getLogger('any').warning('key %s', 'canary_77')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "key ***\n"
