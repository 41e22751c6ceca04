"""How batches change the treated table: newest version, deletions, complete scopes, gates, progress."""

import datetime as dt
import itertools
import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from datalake.lake.lake import Lake
from datalake.lake.raw import now
from datalake.treat import Batch, StaleTable, prepare
from datalake.treat.gates import gates
from datalake.treat.quarantine import TABLE as QUARANTINE
from datalake_tests.treat.build import (
    T1,
    T2,
    T3,
    T4,
    ask,
    column,
    commit,
    complete,
    content,
    line,
    quarantined,
    rows,
    source,
    table,
    treat,
)

ORDERS = table({"id": "string", "amount": "int64"})
IN_SHOP = table([column("id", "int64"), column("shop_id", "int64", from_request=True), column("state", "string")])


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=None)


def order(key: str, amount: int, when: str = T1, **more: Any) -> bytes:
    return line({"id": key, "amount": amount}, when, **more)


def counts(batch: Batch | None) -> dict[str, int]:
    assert batch is not None
    names = ("in", "rejected", "superseded", "unchanged", "inserted", "updated", "deleted")
    return {name: getattr(batch, f"rows_{name}") for name in names if getattr(batch, f"rows_{name}")}


def published(lake: Lake) -> list[tuple[Any, ...]]:
    return rows(lake, ORDERS, "id", "amount", "_deleted_at")


def snapshots(lake: Lake) -> int:
    return len(lake.catalog.load_table(ORDERS.identifier).snapshots())


def test_the_newest_version_of_a_key_wins_whatever_the_order(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 2, T2), order("a", 1, T1), order("b", 1, T1)], [order("b", 3, T3), order("b", 2, T2)])
    assert counts(treat(lake, ORDERS)) == {"in": 5, "superseded": 3, "inserted": 2}
    assert published(lake) == [("a", 2, None), ("b", 3, None)]
    commit(lake, ORDERS, [order("a", 9, T1), order("b", 4, T4), order("c", 1)])
    assert counts(treat(lake, ORDERS)) == {"in": 3, "unchanged": 1, "inserted": 1, "updated": 1}
    assert published(lake) == [("a", 2, None), ("b", 4, None), ("c", 1, None)]


def test_of_equal_times_the_later_line_wins(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1), order("a", 2)], [order("a", 3), order("b", 1)])
    commit(lake, ORDERS, [order("b", 2)])
    treat(lake, ORDERS)
    assert published(lake) == [("a", 3, None), ("b", 2, None)]
    commit(lake, ORDERS, [order("a", 4)])
    treat(lake, ORDERS)
    assert published(lake) == [("a", 4, None), ("b", 2, None)]


def test_system_columns_tell_where_a_version_came_from(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1), order("b", 1)])
    commit(lake, ORDERS, [order("a", 2, T2)])
    treat(lake, ORDERS)
    assert rows(lake, ORDERS, "id", "_extracted_at", "_raw_commit", "_unmapped") == [
        ("a", at(T2), 2, None),
        ("b", at(T1), 1, None),
    ]


def test_what_was_read_again_unchanged_is_not_written_again(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1), order("b", 1)])
    treat(lake, ORDERS)
    before = snapshots(lake)
    commit(lake, ORDERS, [order("a", 1, T2), order("b", 1, T2)])
    assert counts(treat(lake, ORDERS)) == {"in": 2, "unchanged": 2}
    assert snapshots(lake) == before, "nothing changed, yet data was written"
    assert lake.properties(ORDERS)["datalake.raw_commit"] == "2"
    assert treat(lake, ORDERS) is None


def test_commits_without_lines_move_the_progress_only(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1)])
    treat(lake, ORDERS)
    commit(lake, ORDERS)
    batch = treat(lake, ORDERS)
    assert batch is not None
    assert (counts(batch), batch.table_rows, batch.passed) == ({}, 1, True)
    properties = lake.properties(ORDERS)
    assert (properties["datalake.raw_commit"], properties["datalake.run"]) == ("2", "run")
    assert properties["datalake.published_at"] <= now()
    assert treat(lake, ORDERS) is None


def test_a_table_that_raw_does_not_know_has_nothing_to_treat(lake: Lake) -> None:
    assert treat(lake, ORDERS) is None


# Deletions


def test_a_deleted_row_keeps_its_values_and_comes_back_when_read_again(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1), order("b", 1)])
    treat(lake, ORDERS)
    commit(lake, ORDERS, [line({"id": "a"}, T2, op="delete")])
    assert counts(treat(lake, ORDERS)) == {"in": 1, "deleted": 1}
    assert published(lake) == [("a", 1, at(T2)), ("b", 1, None)]
    commit(lake, ORDERS, [order("a", 1, T1)])
    treat(lake, ORDERS)
    assert published(lake)[0] == ("a", 1, at(T2)), "an older reading must not bring it back"
    commit(lake, ORDERS, [order("a", 1, T3)])
    assert counts(treat(lake, ORDERS)) == {"in": 1, "updated": 1}
    assert published(lake) == [("a", 1, None), ("b", 1, None)]


def test_a_key_deleted_before_it_was_read_stays_deleted_and_takes_late_values(lake: Lake) -> None:
    commit(lake, ORDERS, [line({"id": "a", "amount": 9}, T2, op="delete")])
    assert counts(treat(lake, ORDERS)) == {"in": 1, "deleted": 1}
    assert published(lake) == [("a", None, at(T2))]
    commit(lake, ORDERS, [order("a", 1, T1)])
    treat(lake, ORDERS)
    assert published(lake) == [("a", 1, at(T2))]


def test_a_complete_scope_marks_what_was_not_read_again(lake: Lake) -> None:
    def row(key: int, shop: int, when: str) -> bytes:
        return line({"id": key, "state": "x"}, when, {"shop_id": shop})

    commit(lake, IN_SHOP, [row(1, 1, T1), row(2, 1, T1), row(3, 2, T1), row(4, 2, T1)])
    treat(lake, IN_SHOP)
    commit(lake, IN_SHOP, [row(1, 1, T3), complete(T2, shop_id=1), row(5, 2, T2)])
    assert counts(treat(lake, IN_SHOP)) == {"in": 2, "unchanged": 1, "inserted": 1, "deleted": 1}
    assert rows(lake, IN_SHOP, "id", "_deleted_at") == [(1, None), (2, at(T2)), (3, None), (4, None), (5, None)]
    commit(lake, IN_SHOP, [complete(T4)])
    treat(lake, IN_SHOP)
    assert rows(lake, IN_SHOP, "id", "_deleted_at") == [(1, at(T4)), (2, at(T2)), (3, at(T4)), (4, at(T4)), (5, at(T4))]


def test_rows_read_after_a_complete_scope_live(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1, T1), order("b", 1, T1)])
    commit(lake, ORDERS, [order("b", 1, T2), complete(T2), order("a", 2, T3), complete(T1)])
    treat(lake, ORDERS)
    assert published(lake) == [("a", 2, None), ("b", 1, None)]


def test_a_complete_scope_reaches_back_into_commits_already_treated(lake: Lake) -> None:
    """A run was interrupted after publishing unchanged rows; its successor ends the list. Nothing of it is gone."""
    commit(lake, ORDERS, [order("a", 1, T1), order("b", 1, T1), order("c", 1, T1)], committed_at=T1)
    treat(lake, ORDERS)
    commit(lake, ORDERS, [order("a", 1, T3)], committed_at=T3)
    treat(lake, ORDERS)
    commit(lake, ORDERS, [order("b", 1, T4), complete(T2)], committed_at=T4)
    assert counts(treat(lake, ORDERS)) == {"in": 1, "unchanged": 1, "deleted": 1}
    assert published(lake) == [("a", 1, None), ("b", 1, None), ("c", 1, at(T2))]


def test_a_row_in_quarantine_is_not_taken_for_gone(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1), order("b", 1)])
    treat(lake, ORDERS)
    commit(lake, ORDERS, [line('{"id":"a","amount":"bad"}', T3), complete(T2)])
    treat(lake, ORDERS)
    assert published(lake) == [("a", 1, None), ("b", 1, at(T2))]


def test_no_row_is_taken_for_gone_while_a_line_has_no_readable_key(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1), order("b", 1)])
    treat(lake, ORDERS)
    commit(lake, ORDERS, [order("a", 1, T3), b'{"broken', complete(T2)])
    batch = treat(lake, ORDERS)
    assert batch is not None
    assert published(lake) == [("a", 1, None), ("b", 1, None)]
    assert "no row was taken for gone" in batch.notes[0]


def test_a_scope_that_fits_no_column_is_an_error_and_changes_nothing(lake: Lake) -> None:
    commit(lake, IN_SHOP, [line({"id": 1}, T1, {"shop_id": 1})])
    treat(lake, IN_SHOP)
    commit(lake, IN_SHOP, [complete(T2, shop_id="one")])
    with pytest.raises(ValueError, match=r"scope .* does not fit the columns shop_id"):
        treat(lake, IN_SHOP)
    assert rows(lake, IN_SHOP, "_deleted_at") == [(None,)]


def test_a_table_without_key_holds_each_record_once(lake: Lake) -> None:
    of = table({"name": "string"}, key=(), no_key="The source gives none.")
    commit(lake, of, [line({"name": "a"}), line({"name": "a"}), line({"name": "b"})])
    treat(lake, of)
    commit(lake, of, [line({"name": "b"}, T3), complete(T2)])
    treat(lake, of)
    assert rows(lake, of, "name", "_deleted_at") == [("a", at(T2)), ("b", None)]


# Quarantine


def test_a_bad_version_never_hides_an_older_good_one(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1), line('{"id":"a","amount":"1,5"}', T2)])
    assert counts(treat(lake, ORDERS)) == {"in": 2, "rejected": 1, "inserted": 1}
    assert published(lake) == [("a", 1, None)]


def test_only_the_key_of_a_deletion_must_fit(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1)])
    commit(lake, ORDERS, [line('{"id":"a","amount":"gone"}', T2, op="delete")])
    treat(lake, ORDERS)
    assert published(lake) == [("a", 1, at(T2))]


def test_treating_again_replaces_what_is_in_quarantine(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1), line('{"id":"b","amount":"x"}')])
    commit(lake, ORDERS, [line('{"id":"c","amount":"y"}')])
    treat(lake, ORDERS)
    for _ in range(2):
        treat(lake, ORDERS, from_commit=1)
        assert quarantined(lake, "raw_commit", "line", "key") == [(1, 2, '{"id":"b"}'), (2, 1, '{"id":"c"}')]
    wider = table({"id": "string", "amount": "string"})
    assert quarantined(lake) != []
    lake.catalog.drop_table(ORDERS.identifier)
    treat(lake, wider)
    assert quarantined(lake) == []
    assert [row[0] for row in rows(lake, wider)] == ["a", "b", "c"]


def test_treating_anew_fills_a_column_that_the_contract_got_later(lake: Lake) -> None:
    commit(lake, ORDERS, [line({"id": "a", "amount": 1, "note": "n"})])
    treat(lake, ORDERS)
    assert rows(lake, ORDERS, "_unmapped") == [('{"note":"n"}',)]
    wider = table({"id": "string", "note": "string", "amount": "int64"})
    assert treat(lake, wider) is None
    treat(lake, wider, from_commit=1)
    assert rows(lake, wider, "id", "note", "amount", "_unmapped") == [("a", "n", 1, None)]


# Gates


def refused(lake: Lake, of: Any = ORDERS) -> Batch:
    batch = prepare(lake, of, source=source(), run_id="run")
    assert batch is not None
    assert not batch.passed
    with pytest.raises(ValueError, match="must be rolled back"):
        batch.commit()
    batch.rollback()
    return batch


def failed(batch: Batch) -> list[str]:
    return [check.name for check in batch.checks if not check.passed]


def test_a_refused_batch_leaves_everything_as_it_was(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1)])
    treat(lake, ORDERS)
    before = (published(lake), lake.properties(ORDERS), quarantined(lake))
    commit(lake, ORDERS, [order("a", 2, T2), order("b", 2, T2), *(line(f'{{"id":"c{n}","amount":"x"}}') for n in range(20))])
    for _ in range(2):
        batch = refused(lake)
        assert failed(batch) == ["rows_fit_contract"]
        [check] = [check for check in batch.checks if not check.passed]
        assert check.description.startswith(
            "20 of 22 lines do not fit the contract: 20x amount does not fit int64; the first is"
        )
        assert check.description.endswith(f"line 3 of {lake.log(ORDERS).read(2).parts[0].key}")
        assert (published(lake), lake.properties(ORDERS), quarantined(lake)) == before
    fixed = table({"id": "string", "amount": "string"}, name="fixed")
    assert gates(fixed) == gates(ORDERS)


def test_a_part_that_lost_lines_is_refused(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1)], rows=2)
    assert failed(refused(lake)) == ["rows_reconciled"]


def test_keys_that_were_doubled_by_another_writer_are_refused(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1), order("b", 1)])
    treat(lake, ORDERS)
    ask(
        lake,
        "INSERT INTO lake.shop.orders (id, amount, _row_hash, _extracted_at) VALUES ('a', 1, 7, TIMESTAMP '2026-01-01')",
    )
    commit(lake, ORDERS, [order("b", 2, T2)])
    assert counts(treat(lake, ORDERS)) == {"in": 1, "updated": 1}
    commit(lake, ORDERS, [order("a", 1, T1)])
    assert "key_present_and_unique" in failed(refused(lake))


def test_required_columns_are_proved_on_the_table_as_it_would_be(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    of = table([column("id", "string"), column("amount", "int64", nullable=False)])
    assert "required_columns" in gates(of)
    assert "required_columns" not in gates(ORDERS)
    monkeypatch.setattr("datalake.treat.scan._Bound.problems", lambda *_: [])
    commit(lake, of, [line({"id": "a"})])
    assert failed(refused(lake, of)) == ["required_columns"]


def test_gates_name_what_batches_check(lake: Lake) -> None:
    of = table([column("id", "string"), column("amount", "int64", nullable=False)])
    commit(lake, of, [order("a", 1)])
    batch = treat(lake, of)
    assert batch is not None
    assert {check.name for check in batch.checks} == set(gates(of))


# Any order, any cut: the same table


def history(seed: int) -> list[list[bytes]]:
    """Raw commits in which keys are read, change, fail to fit, go and come back, out of order."""
    rng = random.Random(seed)
    times = [f"2026-02-{day:02d}T00:00:00.{n:06d}Z" for day in range(1, 7) for n in range(4)]
    commits = []
    for number in range(6):
        lines = []
        for _ in range(12):
            key, when = f"k{rng.randrange(8)}", rng.choice(times[number * 3 : number * 3 + 8])
            kind = rng.random()
            if kind < 0.15:
                lines.append(line({"id": key}, when, op="delete"))
            elif kind < 0.25:
                lines.append(line(f'{{"id":"{key}","amount":"bad"}}', when))
            else:
                lines.append(order(key, rng.randrange(4), when))
        commits.append(lines)
    commits.append([complete("2026-02-20T00:00:00.000000Z"), order("k1", 5, "2026-02-20T00:00:00.000000Z")])
    commits.append([complete("2026-02-21T00:00:00.000000Z")])
    return commits


@pytest.mark.parametrize("seed", range(2))
def test_the_table_does_not_depend_on_how_raw_is_cut(lake: Lake, seed: int) -> None:
    versions = history(seed)
    step, whole = (table({"id": "string", "amount": "int64"}, name=name) for name in ("step", "whole"))
    for lines in versions:
        commit(lake, step, lines)
        treat(lake, step)
        commit(lake, whole, lines[:5], lines[5:])
    treat(lake, whole)
    assert content(lake, step) == content(lake, whole)
    assert content(lake, whole) == sorted(content(lake, whole))
    treat(lake, step, from_commit=1)
    assert content(lake, step) == content(lake, whole)
    told = [
        ask(lake, 'SELECT raw_commit, key, reason FROM lake.quality.quarantine WHERE "table" = ? ORDER BY ALL', name)
        for name in ("step", "whole")
    ]
    assert told[0] == told[1]


def test_the_table_is_what_plain_python_makes_of_the_lines(lake: Lake) -> None:
    versions = history(99)
    for lines in versions:
        commit(lake, ORDERS, lines)
        treat(lake, ORDERS)
    records: dict[str, tuple[Any, ...]] = {}
    gone: dict[str, tuple[Any, ...]] = {}
    completes: list[str] = []
    for number, text in enumerate(itertools.chain(*versions)):
        told = json.loads(text)
        if told["_lake"].get("op") == "complete":
            completes.append(told["_lake"]["at"])
            continue
        key, rank = told["record"]["id"], (told["_lake"]["at"], number)
        if told["_lake"].get("op") == "delete":
            gone[key] = max(gone.get(key, rank), rank)
        elif isinstance(told["record"]["amount"], int):
            records[key] = max(records.get(key, (rank,)), (rank, told["record"]["amount"]))
    expected = []
    for key in sorted(records.keys() | gone.keys()):
        rank, amount = records.get(key, (("", -1), None))
        missed = [at(when) for when in completes if when > rank[0]]
        mark = at(gone[key][0]) if key in gone and gone[key] > rank else min(missed, default=None)
        expected.append((key, amount, mark))
    assert published(lake) == expected


# Two at once


def test_of_two_treats_at_once_one_is_refused_and_then_converges(lake: Lake) -> None:
    commit(lake, ORDERS, [order("a", 1), order("b", 1)])
    treat(lake, ORDERS)
    commit(lake, ORDERS, [order("a", 2, T2), order("c", 1)])
    first, second = (prepare(lake, ORDERS, source=source(), run_id=run) for run in ("one", "two"))
    assert first is not None
    assert second is not None
    second.commit()
    with pytest.raises(StaleTable, match=r"shop\.orders"):
        first.commit()
    assert lake.properties(ORDERS)["datalake.run"] == "two"
    assert prepare(lake, ORDERS, source=source(), run_id="one") is None
    assert published(lake) == [("a", 2, None), ("b", 1, None), ("c", 1, None)]


def test_tables_side_by_side_all_get_published(lake: Lake) -> None:
    tables = [table({"id": "string", "amount": "int64"}, name=f"t{n}") for n in range(4)]
    for of in tables:
        commit(lake, of, [*(order(f"k{n}", n) for n in range(50)), line('{"id":"bad","amount":"x"}')])

    def run(of: Any) -> None:
        while True:
            try:
                treat(lake, of)
            except StaleTable:
                continue
            return

    with ThreadPoolExecutor(len(tables)) as pool:
        list(pool.map(run, tables))
    assert [len(rows(lake, of)) for of in tables] == [50] * 4
    assert ask(lake, f'SELECT count(*), count(DISTINCT "table") FROM lake.quality.{QUARANTINE.name}') == [(4, 4)]
