"""Runs as Dagster makes them: what is materialised, what a failure holds back, what a selection and a config do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from datalake.checks import step_check_specs
from datalake.lake.lake import Lake
from datalake.settings import Settings
from datalake_tests.dagster_runs import TABLES, Runs, failure, materialized, reasons, retries, stripe_runs, verdicts

EVERYTHING = {f"{prefix}{name}" for name in TABLES for prefix in ("raw_", "", "athena_")}


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with stripe_runs(tmp_path) as runs:
        yield runs


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runs, dg.ExecuteInProcessResult]]:
    """A first run of everything."""
    with stripe_runs(tmp_path_factory.mktemp("first")) as runs:
        yield runs, runs.run()


@pytest.fixture
def settled(first: tuple[Runs, dg.ExecuteInProcessResult]) -> Iterator[Runs]:
    """A source that was read and stands still, for tests that leave its tables as they are."""
    runs, _ = first
    runs.server.calls(clear=True)
    yield runs
    runs.server.clear_faults()


def _commits(runs: Runs, table: str) -> list[dict[str, Any]]:
    folder = runs.folder / "raw" / "stripe" / table / "commits"
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def test_a_run_brings_every_table_through_all_layers(first: tuple[Runs, dg.ExecuteInProcessResult]) -> None:
    runs, result = first
    assert result.success
    facts = materialized(result)
    assert set(facts) == EVERYTHING
    for name in TABLES:
        living = [row for row in runs.server.ledger(name) if not row.deleted]
        assert facts[f"raw_{name}"]["rows_in"] == facts[name]["rows_in"] > 0
        assert facts[name]["dagster/row_count"] == facts[f"athena_{name}"]["dagster/row_count"] == len(living)
    judged = {f"{spec.asset_key.path[-1]}.{spec.name}" for table in runs.tables for spec in step_check_specs(table)}
    assert judged <= set(verdicts(result)), "every check that the graph shows has a verdict"
    assert all(verdicts(result).values())


@pytest.mark.parametrize(
    "asset, names",
    [
        ("raw_charges", {"rows_in", "bytes", "calls", "pages", "lag_s", "cursor", "raw_commit", "dagster/uri", "seconds"}),
        (
            "charges",
            {"rows_in", "rows_rejected", "rows_unchanged", "rows_inserted", "snapshot", "dagster/row_count", "dagster/uri"},
        ),
        ("athena_charges", {"dagster/row_count", "dagster/uri", "metadata_location", "proved_by", "published_at"}),
    ],
)
def test_a_materialization_tells_its_facts(first: tuple[Runs, dg.ExecuteInProcessResult], asset: str, names: set[str]) -> None:
    assert names <= set(materialized(first[1])[asset])


def test_a_table_that_fails_holds_back_no_other(runs: Runs) -> None:
    runs.server.fault("/v1/coupons", status=403, body='{"error": {"message": "no permission for coupons"}}', times=99)
    result = runs.run()

    assert not result.success
    assert set(materialized(result)) == EVERYTHING - {"raw_coupons", "coupons", "athena_coupons"}
    assert set(reasons(result)) == {"raw_coupons.extracted"}
    assert "no permission for coupons" in reasons(result)["raw_coupons.extracted"]
    assert failure(result) == "1 of 4 tables failed: stripe/raw_coupons"
    assert retries(result) == 0, "a lasting failure is not tried again"


def test_a_red_run_leaves_no_check_of_a_good_table_open(settled: Runs) -> None:
    """Dagster shows checks that a failed step did not evaluate as failed: tables with nothing new would turn red."""
    runs = settled
    runs.server.fault("/v1/events", status=403, body='{"error": {"message": "no"}}', times=99)
    result = runs.run()
    assert not result.success
    facts, judged = materialized(result), verdicts(result)
    good = [table for table in runs.tables if table.name in facts]
    assert any(facts[table.name]["unchanged"] for table in good)
    for table in good:
        expected = {f"{spec.asset_key.path[-1]}.{spec.name}" for spec in step_check_specs(table)}
        assert {name: judged.get(name) for name in expected} == dict.fromkeys(expected, True)


def test_children_of_a_failed_parent_say_so(runs: Runs) -> None:
    runs.server.fault("/v1/balance_transactions", status=403, body='{"error": {"message": "no"}}', times=99)
    result = runs.run()
    assert "follows stripe.balance_transactions" in reasons(result)["raw_balance_transaction_fee_details.extracted"]
    assert {"athena_coupons", "athena_charges"} <= set(materialized(result))


def test_a_publication_that_fails_holds_back_no_other(runs: Runs) -> None:
    (runs.folder / "raw" / "stripe" / "coupons" / "read_at" / "in the way").mkdir(parents=True)
    result = runs.run()
    assert not result.success
    assert set(materialized(result)) == EVERYTHING - {"raw_coupons", "coupons", "athena_coupons"}
    assert set(reasons(result)) == {"raw_coupons.extracted"}


def test_a_closed_gate_publishes_nothing_and_shows_its_verdict(runs: Runs) -> None:
    assert runs.run().success
    before = _rows(runs, "coupons")
    broken = json.dumps(
        {
            "object": "list",
            "has_more": False,
            "data": [{"id": f"c{n}", "created": 1767225600, "times_redeemed": "often"} for n in range(50)],
        }
    )
    runs.server.fault("/v1/coupons", status=200, body=broken, times=99, headers={"Content-Type": "application/json"})
    result = runs.run("raw_coupons", "coupons", "athena_coupons", "raw_charges", "charges", config={"full": True})

    assert not result.success
    assert set(materialized(result)) == {"raw_coupons", "raw_charges", "charges"}
    closed = {name for name in reasons(result) if name.startswith("coupons.")}
    assert "coupons.published" in closed
    assert len(closed) > 1, "the gate itself tells its verdict too"
    assert _rows(runs, "coupons") == before
    assert retries(result) == 0


def _rows(runs: Runs, table: str) -> int:
    lake = Lake(Settings.load({"DATALAKE_URL": str(runs.folder)}))
    try:
        return int(lake.properties(runs.source.tables[table])["datalake.rows"])
    finally:
        lake.close()


def test_an_unchanged_source_renews_the_proof_and_writes_nothing(settled: Runs) -> None:
    runs = settled
    before = {path for path in runs.folder.rglob("*") if path.suffix in (".parquet", ".zst")}
    result = runs.run()
    assert result.success
    facts = materialized(result)
    assert set(facts) == EVERYTHING
    assert {name for name, each in facts.items() if not each["unchanged"]} == set()
    assert {path for path in runs.folder.rglob("*") if path.suffix in (".parquet", ".zst")} == before


def test_any_selection_runs_alone(runs: Runs) -> None:
    assert set(materialized(runs.run("raw_charges"))) == {"raw_charges"}
    runs.server.calls(clear=True)
    result = runs.run("charges")
    assert result.success
    assert set(materialized(result)) == {"charges"}
    assert runs.server.calls() == [], "the treated layer alone asks the source nothing"
    mixed = runs.run(
        "athena_charges", "raw_balance_transactions", "raw_balance_transaction_fee_details", "balance_transactions"
    )
    assert mixed.success
    assert len(materialized(mixed)) == 4


def test_a_gate_alone_says_how_it_is_judged(settled: Runs) -> None:
    gates = dg.define_asset_job(
        "gates", dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(["stripe", "charges"]), "published"))
    )
    definitions = dg.Definitions.merge(settled.definitions(), dg.Definitions(jobs=[gates]))
    result = definitions.resolve_job_def("gates").execute_in_process(instance=settled.instance, raise_on_error=False)
    assert "materialize the asset" in failure(result)


def test_a_window_reads_the_past_again_and_leaves_the_cursor(runs: Runs) -> None:
    runs.run("raw_charges")
    before = _commits(runs, "charges")[-1]
    result = runs.run("raw_charges", config={"since": "2020-01-01", "until": "2099-01-01T00:00:00Z"})
    after = _commits(runs, "charges")[-1]
    assert after["kind"] == "window"
    assert after["sequence"] == before["sequence"] + 1
    assert after["cursor"] == before["cursor"]
    assert materialized(result)["raw_charges"]["window"].startswith("2020-01-01")


@pytest.mark.parametrize(
    "config, message",
    [
        ({"since": "soon"}, "is no point in time"),
        ({"until": "2026-01-01"}, "`until` needs `since`"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "is not before"),
        ({"since": "2026-01-01", "full": True}, "leave out"),
    ],
)
def test_a_config_that_makes_no_sense_is_told_and_asks_nothing(settled: Runs, config: dict[str, Any], message: str) -> None:
    result = settled.run("raw_coupons", config=config)
    assert message in failure(result)
    assert retries(result) == 0
    assert settled.server.calls() == []


def test_a_wrong_key_ends_the_run_once(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "rk_test_wrong")
    result = runs.run()
    assert not result.success
    assert materialized(result) == {}
    assert retries(result) == 0
    assert "rk_test_wrong" not in "".join(event.message or "" for event in result.all_events)


@pytest.mark.slow  # the HTTP client tries eight times before it gives up
def test_a_passing_failure_is_tried_again(tmp_path: Path) -> None:
    with stripe_runs(tmp_path, dg.RetryPolicy(max_retries=1)) as runs:
        runs.server.fault("/v1/coupons", status=500, times=8)
        result = runs.run()
    assert retries(result) == 1
    assert result.success
    assert set(materialized(result)) == EVERYTHING
