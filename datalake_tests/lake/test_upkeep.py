"""Compaction changes files, never rows, and never costs another writer its commit."""

import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from datalake.lake import upkeep
from datalake.lake.catalog import commit
from datalake.lake.lake import Lake
from datalake.lake.sql import quote, relation
from datalake.lake.upkeep import RowsDiffer, TableMoved, compact, needs_compaction
from datalake.model import Table
from datalake_tests.lake.build import COLUMNS, ask, fingerprint, merge, reference, table


def summary(lake: Lake, table: Table) -> dict[str, str]:
    snapshot = lake.catalog.load_table(table.identifier).metadata.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    return dict(snapshot.summary.additional_properties)


def merged(lake: Lake, table: Table, merges: int = 5, rows: int = 400) -> list[tuple[int, int, int]]:
    """The table after overlapping merges; returns them for `reference`."""
    versions = [(step * rows // 3, step * rows // 3 + rows, step) for step in range(merges)]
    lake.ensure_table(table)
    for version in versions:
        merge(lake, table, *version)
    return versions


@pytest.mark.parametrize("partition", [None, "at", "day"])
def test_rows_stay_and_files_go(lake: Lake, partition: str | None) -> None:
    charges = table(partition=partition)
    versions = merged(lake, charges)
    ask(lake, f"DELETE FROM {relation(charges)} WHERE id = 'k200'")
    lake.on_commit(charges.identifier, {"datalake.raw_commit": "5"})
    merge(lake, charges, 600, 601, 9)
    before, old = fingerprint(lake, charges), summary(lake, charges)
    assert int(old["total-delete-files"]) > 0

    done = compact(lake, charges)

    assert done is not None
    assert done.rows == before[0]
    assert fingerprint(lake, charges) == before
    new = summary(lake, charges)
    months = f"date_trunc('month', {quote(partition)})" if partition else "1"
    [(partitions,)] = ask(lake, f"SELECT count(*) FROM (SELECT DISTINCT {months} FROM {relation(charges)})")
    assert int(new["total-data-files"]) == partitions == done.files_after
    assert done.files_before == int(old["total-data-files"]) + int(old["total-delete-files"])
    assert new["total-delete-files"] == new["total-position-deletes"] == "0"
    assert int(new["total-records"]) == before[0]
    assert lake.properties(charges)["datalake.raw_commit"] == "5"
    expected = reference([*versions, (600, 601, 9)], "SELECT count(*) - 1 FROM r")
    assert [(before[0],)] == expected

    assert lake.catalog.load_table(charges.identifier).scan().to_arrow().num_rows == before[0]
    assert compact(lake, charges) is None, "there is nothing left to gain"
    merge(lake, charges, 0, 1200, 20)
    assert fingerprint(lake, charges)[:2] == (1200, 1200)


def test_older_snapshots_stay_readable(lake: Lake) -> None:
    charges = table()
    merged(lake, charges, 3)
    published = lake.catalog.load_table(charges.identifier)
    before = published.metadata.current_snapshot_id
    rows = published.scan().to_arrow().num_rows
    compact(lake, charges)
    assert lake.catalog.load_table(charges.identifier).scan(snapshot_id=before).to_arrow().num_rows == rows


def test_files_of_different_contracts_become_one(lake: Lake) -> None:
    merged(lake, table(), 2)
    wider = table(
        columns=COLUMNS
        | {
            "added": "int64",
            "amount": "decimal(30,2)",
            "address": "struct{city:string,geo:struct{lat:float64,lon:float64},zip:string}",
        }
    )
    lake.ensure_table(wider)
    ask(lake, f"INSERT INTO {relation(wider)} (id, amount, added) VALUES ('new', 12345678901234567890.12, 7)")
    before = fingerprint(lake, wider)
    assert compact(lake, wider) is not None
    assert fingerprint(lake, wider) == before
    assert ask(lake, f"SELECT amount, added, address FROM {relation(wider)} WHERE id = 'new'") == [
        (Decimal("12345678901234567890.12"), 7, None)
    ]


def test_a_table_whose_rows_are_all_deleted(lake: Lake) -> None:
    charges = table(partition="at")
    merged(lake, charges, 2)
    ask(lake, f"DELETE FROM {relation(charges)}")
    assert compact(lake, charges) is not None
    assert fingerprint(lake, charges)[0] == 0
    assert summary(lake, charges)["total-data-files"] == "0"
    merge(lake, charges, 0, 10, 5)
    assert fingerprint(lake, charges)[:2] == (10, 10)


def test_clean_partitions_are_left_alone(lake: Lake) -> None:
    charges = table(partition="at")
    lake.ensure_table(charges)
    merge(lake, charges, 0, 3000)
    files = {task.file.file_path for task in lake.catalog.load_table(charges.identifier).scan().plan_files()}
    ask(lake, f"DELETE FROM {relation(charges)} WHERE id = 'k1'")
    done = compact(lake, charges)
    assert done is not None
    assert done.rows < 3000 / 2
    kept = {task.file.file_path for task in lake.catalog.load_table(charges.identifier).scan().plan_files()}
    assert len(files & kept) == len(files) - 1
    assert fingerprint(lake, charges)[0] == 2999


def test_it_is_due_after_so_many_merges_and_no_sooner_than_so_many_again(lake: Lake) -> None:
    charges = table()
    assert not needs_compaction(lake, charges)
    lake.ensure_table(charges)
    assert not needs_compaction(lake, charges)
    for step in range(upkeep.MERGES):
        assert not needs_compaction(lake, charges)
        merge(lake, charges, 0, 5, step)
    assert needs_compaction(lake, charges)
    compact(lake, charges)
    for step in range(upkeep.MERGES):
        assert not needs_compaction(lake, charges)
        merge(lake, charges, 0, 5, 100 + step)
    assert needs_compaction(lake, charges)


def files_on_disk(lake: Lake) -> set[str]:
    return {str(path) for path in Path(lake.settings.lake_url, "treated").rglob("*") if path.is_file()}


def test_another_writer_in_between_is_kept_and_compaction_tries_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    charges = table()
    merged(lake, charges, 3)
    tries = []

    def late(*arguments: object) -> object:
        tries.append(1)
        if len(tries) == 1:
            merge(lake, charges, 0, 2000, 50)
        return commit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(upkeep, "commit", late)
    assert compact(lake, charges) is not None
    assert len(tries) == 2
    assert ask(lake, f"SELECT count(*), min(_raw_commit) FROM {relation(charges)}") == [(2000, 50)]
    assert summary(lake, charges)["total-delete-files"] == "0"


def test_a_table_that_never_rests_is_left_as_it_is(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    charges = table()
    merged(lake, charges, 3)
    step = iter(range(60, 100))

    def late(*arguments: object) -> object:
        merge(lake, charges, 0, 10, next(step))
        mine.append(files_on_disk(lake))
        return commit(*arguments)  # type: ignore[arg-type]

    mine: list[set[str]] = []
    monkeypatch.setattr(upkeep, "commit", late)
    with pytest.raises(TableMoved, match="nothing was changed"):
        compact(lake, charges)
    assert len(mine) == upkeep.TRIES
    left = files_on_disk(lake)
    assert mine[-1] - left, "what the last try wrote is gone again"
    assert ask(lake, f"SELECT max(_raw_commit) FROM {relation(charges)}") == [(62,)]


def test_rows_that_do_not_add_up_are_never_published(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    charges = table()
    merged(lake, charges, 3)
    before, files = fingerprint(lake, charges), files_on_disk(lake)
    original = upkeep._Rewrite._condition
    monkeypatch.setattr(upkeep._Rewrite, "_condition", lambda *a: original(*a) + " AND id <> 'k1'")
    with pytest.raises(RowsDiffer, match="the metadata promises"):
        compact(lake, charges)
    assert fingerprint(lake, charges) == before
    assert files_on_disk(lake) == files


@pytest.mark.slow
@pytest.mark.parametrize("when, done", [("before", False), ("after", True)])
def test_killed_at_the_commit(lake: Lake, when: str, done: bool) -> None:
    charges = table(partition="at")
    merged(lake, charges, 3)
    before = fingerprint(lake, charges)
    code = (
        "import sys\n"
        "from datalake_tests.killed import arm\n"
        "from datalake_tests.lake.build import *\n"
        "from datalake.lake.upkeep import compact\n"
        "arm('datalake.lake.upkeep:commit', sys.argv[2], 1)\n"
        "compact(open_lake(sys.argv[1]), table(partition='at'))\n"
    )
    process = subprocess.run([sys.executable, "-c", code, lake.settings.lake_url, when], check=False)
    assert process.returncode == -signal.SIGKILL
    assert fingerprint(lake, charges) == before
    assert (summary(lake, charges)["total-delete-files"] == "0") == done
    merge(lake, charges, 0, 10, 30)
    assert (compact(lake, charges) is not None) or done
    assert fingerprint(lake, charges)[:2] == before[:2]
