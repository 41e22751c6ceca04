"""A lake opens lazily, works side by side, carries its progress in the commit, and tidies up."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import duckdb
import pytest

from datalake.lake.lake import Lake
from datalake.lake.sql import relation
from datalake.settings import SettingError
from datalake_tests.lake.build import ask, fingerprint, merge, merge_sql, open_lake, reference, table


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, datalake.lake.lake, datalake.lake.register, datalake.lake.upkeep, datalake.lake.tables, "
        "datalake.lake.catalog, datalake.lake.athena, datalake.lake.s3\n"
        "from datalake.settings import Settings\n"
        "datalake.lake.lake.Lake(Settings({'DATALAKE_URL': '/nowhere'})).close()\n"
        "heavy = {'duckdb', 'pyiceberg', 'pyarrow', 'boto3', 'botocore', 'pandas', 'pyathena', 'sqlalchemy'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_merges_agree_with_plain_duckdb(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    versions = [(0, 500, 0), (400, 900, 1), (0, 10, 2)]
    for start, stop, step in versions:
        merge(lake, charges, start, stop, step)
    names = 'id, amount, "at", day, paid, rate, meta, lines, address, _extracted_at, _raw_commit, _row_hash'
    expected = reference(versions, f"SELECT {names} FROM r ORDER BY id")
    assert ask(lake, f"SELECT {names} FROM {relation(charges)} ORDER BY id") == expected


def test_a_rolled_back_merge_leaves_no_trace(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    before = lake.catalog.load_table(charges.identifier).metadata_location
    connection = lake.connect()
    connection.execute("BEGIN")
    connection.execute(merge_sql(charges), {"start": 5, "stop": 20, "step": 1})
    assert connection.execute(f"SELECT count(*) FROM {relation(charges)}").fetchone() == (20,)
    assert ask(lake, f"SELECT count(*) FROM {relation(charges)}") == [(10,)]
    connection.execute("ROLLBACK")
    assert ask(lake, f"SELECT count(*) FROM {relation(charges)}") == [(10,)]
    assert lake.catalog.load_table(charges.identifier).metadata_location == before


def test_progress_travels_in_the_commit_of_the_rows(lake: Lake) -> None:
    charges = table()
    assert lake.properties(charges) == {}
    lake.ensure_table(charges)
    lake.on_commit(charges.identifier, {"datalake.raw_commit": "7"})
    assert "datalake.raw_commit" not in lake.properties(charges)
    merge(lake, charges, 0, 10)
    assert lake.properties(charges)["datalake.raw_commit"] == "7"
    published = lake.catalog.load_table(charges.identifier)
    assert len(published.metadata.snapshots) == 1
    assert len(published.metadata.metadata_log) == 1, "one catalog commit holds both"


def test_a_merge_that_changes_nothing_publishes_nothing_but_its_progress(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    lake.on_commit(charges.identifier, {"datalake.raw_commit": "8"})
    merge(lake, charges, 0, 10)
    published = lake.catalog.load_table(charges.identifier)
    assert len(published.metadata.snapshots) == 1
    assert "datalake.raw_commit" not in published.properties
    lake.settle(charges.identifier)
    assert lake.properties(charges)["datalake.raw_commit"] == "8"
    before = lake.catalog.load_table(charges.identifier).metadata_location
    lake.settle(charges.identifier)
    assert lake.catalog.load_table(charges.identifier).metadata_location == before, "nothing waits any more"


def test_progress_of_a_rolled_back_batch_can_be_taken_back(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    lake.on_commit(charges.identifier, {"datalake.raw_commit": "9"})
    lake.on_commit(charges.identifier, {})
    merge(lake, charges, 0, 10)
    assert "datalake.raw_commit" not in lake.properties(charges)


def test_many_tables_merge_side_by_side(lake: Lake) -> None:
    tables = [table(f"t{number}", partition="at" if number % 3 == 0 else None) for number in range(12)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lake.ensure_table, tables))
        for step in range(3):
            list(pool.map(partial(merge, lake, start=0, stop=300, step=step), tables))
    [expected] = reference([(0, 300, 2)], "SELECT count(*), count(DISTINCT id), sum(amount) FROM r")
    assert {fingerprint(lake, each)[:3] for each in tables} == {expected}


def test_of_two_overlapping_writers_the_later_is_refused_and_may_try_again(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    slow = lake.connect()
    slow.execute("BEGIN")
    slow.execute(merge_sql(charges), {"start": 5, "stop": 30, "step": 1})
    merge(lake, charges, 20, 40, 2)
    with pytest.raises(duckdb.TransactionException, match="409"):
        slow.execute("COMMIT")
    slow.close()
    assert fingerprint(lake, charges)[:2] == (30, 30)
    merge(lake, charges, 5, 30, 1)
    assert fingerprint(lake, charges)[:2] == (40, 40)


def test_another_process_is_seen_by_the_next_transaction(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    merge(lake, charges, 0, 10)
    connection = lake.connect()
    assert connection.execute(f"SELECT count(*) FROM {relation(charges)}").fetchone() == (10,)
    other = open_lake(lake.settings.lake_url)
    merge(other, charges, 5, 25, 1)
    other.close()
    assert connection.execute(f"SELECT count(*) FROM {relation(charges)}").fetchone() == (25,)


def test_a_null_key_is_refused_by_the_table_itself(lake: Lake) -> None:
    charges = table()
    lake.ensure_table(charges)
    with pytest.raises(duckdb.ConstraintException, match="NOT NULL"):
        ask(lake, f"INSERT INTO {relation(charges)} (id, amount) VALUES (NULL, 1)")


def test_a_size_that_is_none_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="DATALAKE_MEMORY: 'plenty' is no size"):
        open_lake(tmp_path, DATALAKE_MEMORY="plenty").connect()


def test_settings_reach_duckdb(tmp_path: Path) -> None:
    lake = open_lake(tmp_path, DATALAKE_MEMORY="300MB", DATALAKE_THREADS="1")
    connection = lake.connect()
    settings = dict(
        connection.execute(
            "SELECT name, value FROM duckdb_settings() WHERE name IN ('memory_limit', 'threads', 'TimeZone', 'temp_directory', "
            "'autoinstall_known_extensions', 'autoload_known_extensions')"
        ).fetchall()
    )
    spill = Path(settings.pop("temp_directory"))
    assert settings == {
        "memory_limit": "171.6 MiB",
        "threads": "1",
        "TimeZone": "UTC",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    assert spill.is_dir()
    lake.close()
    assert not spill.exists()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"DATALAKE_CATALOG": "hive"}, "write sqlite, glue, or the address"),
        ({"DATALAKE_CATALOG": "glue"}, "DATALAKE_URL=s3://"),
    ],
)
def test_a_catalog_that_cannot_be_says_what_to_write(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        _ = open_lake(tmp_path, **settings).catalog
