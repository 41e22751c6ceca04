"""What a team's asset gets of a layer: by annotation, with the columns and the filter it asks for."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import duckdb
import msgspec
import pandas as pd
import pyarrow as pa
import pytest

from datalake.assets.specs import TREATED_IO
from datalake.lake.raw import RawLog
from datalake_tests.dagster_runs import Runs, stripe_runs

CHARGES = dg.AssetKey(["stripe", "charges"])
SEEN: dict[str, Any] = {}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with stripe_runs(tmp_path_factory.mktemp("lake")) as runs:
        assert runs.run("raw_charges", "charges").success
        yield runs


def _load(runs: Runs, asset: dg.AssetsDefinition) -> Any:
    """Materialize a downstream asset alone, in a run of its own; returns what it saw, or raises what it met."""
    SEEN.clear()
    definitions = runs.definitions([asset])
    job = definitions.resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=runs.instance, asset_selection=[asset.key])
    return SEEN["it"]


def _asset(annotation: type, **metadata: Any) -> dg.AssetsDefinition:
    def look(charges: Any) -> None:
        match charges:
            case pa.RecordBatchReader():
                SEEN["it"] = charges.read_all()
            case duckdb.DuckDBPyRelation():
                SEEN["it"] = charges.to_arrow_table()
            case _:
                SEEN["it"] = charges

    look.__annotations__["charges"] = annotation
    return dg.asset(name="look", ins={"charges": dg.AssetIn(CHARGES, metadata=metadata)})(look)


SHAPES = (pd.DataFrame, pa.Table, pa.RecordBatchReader, duckdb.DuckDBPyRelation)


def _rows(loaded: Any) -> list[dict[str, Any]]:
    rows = loaded.to_dict("records") if isinstance(loaded, pd.DataFrame) else loaded.to_pylist()
    return sorted(rows, key=lambda row: row["id"])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_table_comes_as_the_annotation_says(runs: Runs, shape: type) -> None:
    loaded = _load(runs, _asset(shape, columns=["id", "amount", "currency"]))
    living = [row.record for row in runs.server.ledger("charges") if not row.deleted]
    expected = [{name: record[name] for name in ("id", "amount", "currency")} for record in living]
    assert _rows(loaded) == sorted(expected, key=lambda row: row["id"])


FILTERS = {
    "status = 'succeeded'": lambda record: record["status"] == "succeeded",
    "amount > 2000 and not (status in ('failed', 'pending'))": lambda record: (
        record["amount"] > 2000 and record["status"] not in ("failed", "pending")
    ),
    "customer is null or amount_refunded >= 1": lambda record: record["customer"] is None or record["amount_refunded"] >= 1,
    "id like 'ch_%'": lambda record: record["id"].startswith("ch_"),
    "created < '2000-01-01T00:00:00'": lambda record: record["created"] < 946684800,
}


@pytest.mark.parametrize("row_filter", FILTERS)
@pytest.mark.parametrize("shape", [pa.Table, duckdb.DuckDBPyRelation])
def test_a_filter_means_the_same_in_every_shape(runs: Runs, shape: type, row_filter: str) -> None:
    loaded = _load(runs, _asset(shape, columns=["id"], filter=row_filter))
    living = [row.record for row in runs.server.ledger("charges") if not row.deleted]
    assert [row["id"] for row in _rows(loaded)] == sorted(record["id"] for record in living if FILTERS[row_filter](record))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_filter_is_no_place_for_sql(runs: Runs, shape: type) -> None:
    with pytest.raises(ValueError, match="is no row filter"):
        _load(runs, _asset(shape, filter="1=1; DROP TABLE lake.stripe.charges"))


@pytest.mark.parametrize(
    "annotation, metadata, message",
    [
        (dict, {}, "annotate the parameter with one of pandas.DataFrame"),
        (pa.Table, {"columns": ["id", "amuont"]}, "has no column amuont"),
    ],
)
def test_what_cannot_be_loaded_is_told(runs: Runs, annotation: type, metadata: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        _load(runs, _asset(annotation, **metadata))


def test_a_table_that_was_never_published_is_told(runs: Runs) -> None:
    def look(coupons: pa.Table) -> None: ...

    asset = dg.asset(name="look", ins={"coupons": dg.AssetIn(["stripe", "coupons"])})(look)
    with pytest.raises(LookupError, match=r"stripe\.coupons has not been published yet"):
        _load(runs, asset)


def test_raw_comes_as_lines_or_as_its_log(runs: Runs) -> None:
    @dg.asset(name="look", ins={"lines": dg.AssetIn(["stripe", "raw_charges"])})
    def lines(lines: Iterator) -> None:
        SEEN["it"] = [msgspec.json.decode(line)["record"]["id"] for line in lines]

    @dg.asset(name="look", ins={"log": dg.AssetIn(["stripe", "raw_charges"])})
    def log(log: RawLog) -> None:
        SEEN["it"] = log.head()

    identities = _load(runs, lines)
    assert set(identities) == {row.record["id"] for row in runs.server.ledger("charges")}
    assert _load(runs, log).rows == len(identities)


def test_only_the_sources_write_these_layers(runs: Runs) -> None:
    @dg.asset(io_manager_key=TREATED_IO)
    def mine() -> pd.DataFrame:
        return pd.DataFrame({"a": [1]})

    job = runs.definitions([mine]).resolve_implicit_global_asset_job_def()
    with pytest.raises(TypeError, match="give an asset of yours another io_manager_key"):
        job.execute_in_process(instance=runs.instance, asset_selection=[mine.key])
