"""Calls side by side, full lists told only when they change, and rows of a parent's raw log."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from datalake.lake.objects import Objects
from datalake.lake.raw import Commit, PartWriter, RawLog
from datalake.sources.base import Ask, Complete, Page, Permanent
from datalake.sources.paging import Workers, by_commit, full_list, parent_rows
from datalake_tests.sources.scripted import make_table, wait_until

AT = "2026-11-22T13:00:00.000000Z"


@pytest.fixture
def workers() -> Generator[Workers]:
    pool = Workers(4)
    yield pool
    pool.close()


def test_each_keeps_the_order_and_works_side_by_side(workers: Workers) -> None:
    together = threading.Barrier(4, timeout=5)

    def fetch(item: int) -> int:
        together.wait()
        time.sleep(0.01 * (3 - item % 4))
        return item * item

    assert list(workers.each(range(12), fetch)) == [n * n for n in range(12)]


def test_each_does_not_run_far_ahead_of_a_slow_taker(workers: Workers) -> None:
    begun: list[int] = []
    results = workers.each(range(1000), lambda item: begun.append(item) or item)
    assert next(results) == 0
    wait_until(lambda: len(begun) > 0)
    time.sleep(0.05)
    assert len(begun) <= 9
    assert len(list(results)) == 999


def test_each_raises_in_place_and_stops(workers: Workers) -> None:
    begun: list[int] = []

    def fetch(item: int) -> int:
        begun.append(item)
        if item == 5:
            raise Permanent("five")
        return item

    results = workers.each(range(1000), fetch)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(Permanent, match="five"):
        next(results)
    time.sleep(0.05)
    assert len(begun) < 20


def test_each_inside_each_does_not_wait_for_itself(workers: Workers) -> None:
    def outer(item: int) -> int:
        return sum(workers.each(range(10), lambda inner: inner + item))

    assert list(workers.each(range(8), outer)) == [45 + 10 * item for item in range(8)]


def listed(pages: list[Page], known: str | None = None) -> tuple[list[Any], str]:
    items: list[Any] = []
    generator = full_list(pages, known, {"repository_id": 1}, AT)
    while True:
        try:
            items.append(next(generator))
        except StopIteration as stop:
            return items, stop.value


def test_a_full_list_is_told_when_it_changed_only() -> None:
    pages = [Page([b'{"id":1}', b'{"id": 2}'], AT, {"x": 1}), Page([], AT), Page([b'{"id":3}'], AT)]
    items, digest = listed(pages)
    assert items == [pages[0], pages[2], Complete({"repository_id": 1}, AT)]
    other_order = [Page([b'{"id":3}', b'{"id": 2}', b'{"id":1}'], AT)]
    assert listed(other_order, digest) == ([], digest)
    items, changed = listed(pages[:1], digest)
    assert items == [pages[0], Complete({"repository_id": 1}, AT)]
    assert changed != digest


def test_an_empty_list_is_told_once() -> None:
    items, digest = listed([])
    assert items == [Complete({"repository_id": 1}, AT)]
    assert listed([], digest) == ([], digest)


def test_a_long_list_waits_on_disk() -> None:
    record = b'{"id":"%s"}' % (b"x" * 1_000_000)
    items, _ = listed([Page([record], AT) for _ in range(40)])
    assert items[:-1] == [Page([record], AT)] * 40


def _commit(log: RawLog, sequence: int, lines: list[bytes]) -> None:
    writer = PartWriter(log.objects, log.table)
    writer.write(b"\n".join(lines) + b"\n", len(lines))
    log.append(
        Commit(sequence, log.table.source, log.table.name, "run", "sync", AT, AT, parts=(writer.close(),)),
    )


def test_rows_of_the_parent_behind_the_cursor(tmp_path: Path) -> None:
    parent = RawLog(Objects(str(tmp_path)), make_table(name="invoices"))
    at = AT.encode()
    _commit(parent, 1, [b'{"_lake":{"at":"%s","add":{}},"record":{"id":"old"}}' % at])
    _commit(
        parent,
        2,
        [
            b'{"_lake":{"at":"%s","add":{"tenant":"t"}},"record":{"id":"a", "lines":{"has_more":true}}}' % at,
            b'{"_lake":{"at":"%s","add":{},"op":"delete"},"record":{"id":"\\ud800"}}' % at,
            b'{"_lake":{"at":"%s","op":"complete","scope":{}}}' % at,
        ],
    )
    _commit(parent, 3, [b'{"_lake":{"at":"%s","add":{}},"record":{"id":"c"}}' % at])
    ask = Ask(make_table(parent="invoices"), {"parent_sequence": 1}, None, False, parent, print)
    rows = list(parent_rows(ask, "id", "lines"))
    assert [(row.fields, row.add, row.deleted, row.sequence) for row in rows] == [
        (("a", {"has_more": True}), {"tenant": "t"}, False, 2),
        (("\ud800", None), {}, True, 2),
        (("c", None), {}, False, 3),
    ]
    assert bytes(rows[0].record) == b'{"id":"a", "lines":{"has_more":true}}'
    assert [(commit.sequence, len(list(rows))) for commit, rows in by_commit(ask, "id")] == [(2, 2), (3, 1)]


def test_a_table_without_parent_is_told() -> None:
    ask = Ask(make_table(), {}, None, False, None, print)
    with pytest.raises(ValueError, match="follows no parent"):
        list(parent_rows(ask, "id"))
