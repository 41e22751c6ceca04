"""What extraction writes and when it commits: lines, cursors, windows, checkpoints, secrets."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datalake.sources import engine, spool
from datalake.sources.base import Ask, Checkpoint, Complete, Deleted, Item, Page, Permanent, Window
from datalake.sources.engine import Extraction, HttpRun, extract
from datalake.sources.progress import LogProgress
from datalake.sources.records import split
from datalake_tests.sources.scripted import (
    ALL_IDS,
    KEY,
    Reply,
    extracted,
    make_table,
    page,
    raw_ids,
    raw_lines,
    raw_log,
    reading,
    serving,
)

AT = "2026-11-22T13:00:00.000000Z"
WINDOW = Window(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 2, 1, tzinfo=dt.UTC))
NOWHERE = "http://127.0.0.1:9"


def told(folder: Path, *items: Item | Exception, table: Any = None, **options: Any) -> Extraction:
    """Extract a table whose rows are these items."""
    table = table or make_table("items")

    def rows(_run: HttpRun, _ask: Ask) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Exception):
                raise item
            yield item

    with reading(NOWHERE, {"items": rows}) as run:
        return extracted(run, folder, table, **options)


def test_records_stay_byte_for_byte_beside_their_facts(tmp_path: Path) -> None:
    records = [b'{"id":1.10, "x": null,"e":{} ,"t":"\\u00e9\\ud800 \xc3\xa9"}', b'{"id":12345678901234567890123}']
    told(
        tmp_path,
        Page(records, AT, {"repository_id": 7}),
        Deleted(b'{"id":3}', AT, {"repository_id": 7}),
        Complete({"repository_id": 7}, AT),
    )
    log = raw_log(tmp_path)
    head = log.head()
    assert head is not None
    assert list(log.lines(head)) == [
        b'{"_lake":{"at":"%s","add":{"repository_id":7}},"record":%s}' % (AT.encode(), records[0]),
        b'{"_lake":{"at":"%s","add":{"repository_id":7}},"record":%s}' % (AT.encode(), records[1]),
        b'{"_lake":{"at":"%s","add":{"repository_id":7},"op":"delete"},"record":{"id":3}}' % AT.encode(),
        b'{"_lake":{"at":"%s","op":"complete","scope":{"repository_id":7}}}' % AT.encode(),
    ]
    assert head.rows == 3


def test_nothing_new_makes_no_commit(tmp_path: Path) -> None:
    told(tmp_path, Page([b'{"id":1}'], AT), Checkpoint({"day": 1}))
    extraction = told(tmp_path, Page([], AT), Checkpoint({"day": 1}))
    assert extraction.commits == []
    assert len(raw_log(tmp_path).since(0)) == 1


def test_a_cursor_that_moves_is_kept_without_rows(tmp_path: Path) -> None:
    told(tmp_path, Checkpoint({"day": 1}))
    (commit,) = told(tmp_path, Checkpoint({"day": 2})).commits
    assert (commit.cursor_before, commit.cursor, commit.parts) == ({"day": 1}, {"day": 2}, ())


def test_rows_behind_the_last_checkpoint_are_kept_at_the_end_and_dropped_after_an_error(tmp_path: Path) -> None:
    items = [Page([b'{"id":"a"}'], AT), Checkpoint({"n": 1}), Page([b'{"id":"b"}'], AT)]
    with pytest.raises(Permanent, match="broken"):
        told(tmp_path / "error", *items, Permanent("broken"))
    assert raw_ids(tmp_path / "error") == ["a"]
    told(tmp_path / "end", *items)
    assert raw_ids(tmp_path / "end") == ["a", "b"]
    for folder in ("error", "end"):
        head = raw_log(tmp_path / folder).head()
        assert head is not None
        assert head.cursor == {"n": 1}


def test_an_error_before_any_checkpoint_publishes_nothing(tmp_path: Path) -> None:
    with pytest.raises(Permanent):
        told(tmp_path, Page([b'{"id":"a"}'], AT), Permanent("broken"))
    assert raw_log(tmp_path).head() is None


def test_a_long_stretch_without_checkpoint_goes_into_parts_that_an_error_throws_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "HELD_BYTES", 300)
    monkeypatch.setattr(spool, "PART_BYTES", 1000)
    pages = [Page([b'{"id":"%04d"}' % n], AT) for n in range(60)]
    kept = [*pages[:20], Checkpoint({"n": 20})]
    with pytest.raises(Permanent):
        told(tmp_path, *kept, *pages[20:], Permanent("broken"))
    assert raw_ids(tmp_path) == [f"{n:04d}" for n in range(20)]
    listed = {part.key for commit in raw_log(tmp_path).since(0) for part in commit.parts}
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.zst")} == listed
    told(tmp_path, *pages[20:])
    assert raw_ids(tmp_path) == [f"{n:04d}" for n in range(60)]


def test_checkpoints_publish_early_once_enough_has_come_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "COMMIT_BYTES", 1500)
    with serving(lambda asked: Reply(page(asked))) as server, reading(server.url) as run:
        extraction = extracted(run, tmp_path)
    assert len(extraction.commits) > 3
    assert raw_ids(tmp_path) == ALL_IDS
    assert [commit.sequence for commit in extraction.commits] == list(range(1, len(extraction.commits) + 1))
    for before, after in zip(extraction.commits, extraction.commits[1:], strict=False):
        assert after.cursor_before == before.cursor
    assert sum(commit.calls["calls"] for commit in extraction.commits) == extraction.calls["calls"] == 10
    assert extraction.rows == sum(commit.rows for commit in extraction.commits) == 100
    assert extraction.bytes == sum(part.bytes for commit in extraction.commits for part in commit.parts)


def test_time_alone_publishes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "COMMIT_SECONDS", 0.0)
    with serving(lambda asked: Reply(page(asked))) as server, reading(server.url) as run:
        assert len(extracted(run, tmp_path).commits) == 10


def test_full_begins_without_a_cursor(tmp_path: Path) -> None:
    with serving(lambda asked: Reply(page(asked))) as server, reading(server.url) as run:
        extracted(run, tmp_path)
        (commit,) = extracted(run, tmp_path, full=True).commits
    assert commit.kind == "full"
    assert raw_ids(tmp_path) == ALL_IDS * 2


def test_a_window_leaves_the_cursor_alone(tmp_path: Path) -> None:
    told(tmp_path, Page([b'{"id":"a"}'], AT), Checkpoint({"n": 1}))
    (commit,) = told(tmp_path, Page([b'{"id":"b"}'], AT), Checkpoint({"n": 0}), window=WINDOW).commits
    assert (commit.kind, commit.cursor_before, commit.cursor) == ("window", {"n": 1}, {"n": 1})
    assert commit.window == {"since": "2026-01-01T00:00:00+00:00", "until": "2026-02-01T00:00:00+00:00"}
    assert told(tmp_path, window=WINDOW).commits == []


def test_a_window_goes_behind_a_commit_that_came_first(tmp_path: Path) -> None:
    table = make_table("items")
    log = raw_log(tmp_path, table)
    with reading(NOWHERE, {"items": lambda _run, _ask: iter([Page([b'{"id":"w"}'], AT)])}) as run:
        window = extract(run, table, log, run_id="w", parent=None, window=WINDOW, progress=LogProgress())
        told(tmp_path, Page([b'{"id":"s"}'], AT), Checkpoint({"n": 9}))
        commit = window.commit()
    assert commit is not None
    assert (commit.sequence, commit.cursor_before, commit.cursor) == (2, {"n": 9}, {"n": 9})
    assert raw_ids(tmp_path) == ["s", "w"]


def test_the_module_cannot_change_a_cursor_that_was_checkpointed(tmp_path: Path) -> None:
    cursor = {"done": ["a"]}

    def rows(_run: HttpRun, ask: Ask) -> Iterator[Item]:
        yield Checkpoint(cursor)
        cursor["done"].append("b")

    with reading(NOWHERE, {"items": rows}) as run:
        (commit,) = extracted(run, tmp_path, make_table("items")).commits
    assert commit.cursor == {"done": ["a"]}


def test_secrets_of_the_contract_reach_no_file(tmp_path: Path) -> None:
    table = make_table("items", secrets=("client_secret", "next.*.token"))
    told(
        tmp_path,
        Page([b'{"id":1,"client_secret":"canary","next":[{"token":"canary","x":1.0}]}', b'{"id":2}'], AT),
        Deleted(b'{"client_\\u0073ecret":"canary","id":3}', AT),
        table=table,
    )
    records = [line["record"] for line in raw_lines(tmp_path, table)]
    assert records == [{"id": 1, "next": [{"x": 1.0}]}, {"id": 2}, {"id": 3}]


def test_a_record_that_may_hide_a_secret_stops_the_table(tmp_path: Path) -> None:
    table = make_table("items", secrets=("client_secret",))
    with pytest.raises(Permanent) as caught:
        told(tmp_path, Page([b'{"id":1,"client_secret":"canary"'], AT), table=table)
    assert "canary" not in str(caught.value)


def test_a_record_on_two_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="line break"):
        told(tmp_path, Page([b'{"id":\n1}'], AT))


def test_notes_reach_people_and_the_extraction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def rows(_run: HttpRun, ask: Ask) -> Iterator[Item]:
        ask.note("a/b is empty and was skipped")
        yield Checkpoint({"n": 1})

    with reading(NOWHERE, {"items": rows}) as run:
        extraction = extracted(run, tmp_path, make_table("items"))
    assert extraction.notes == ["a/b is empty and was skipped"]
    assert "sample.charges: a/b is empty" in caplog.text


def test_progress_comes_as_log_lines_at_most_every_few_seconds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = make_table()
    caplog.set_level(logging.INFO)
    with serving(lambda asked: Reply(page(asked))) as server, reading(server.url) as run:
        extract(run, table, raw_log(tmp_path), run_id="r", parent=None, progress=LogProgress(every=0.0))
        assert re.search(r"sample\.charges: 100 rows, 10 pages, 10 calls", caplog.text)
        caplog.clear()
        extract(run, table, raw_log(tmp_path), run_id="r", parent=None, progress=LogProgress())
        assert "rows" not in caplog.text


def test_a_contract_that_names_no_function_is_told(tmp_path: Path) -> None:
    with reading(NOWHERE) as run, pytest.raises(Permanent, match="rows: nothing"):
        extracted(run, tmp_path, make_table("nothing"))


def test_no_key_in_anything_that_is_written_or_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The canary: the key goes out with each call, comes back in answers, and is in the settings."""
    caplog.set_level(logging.DEBUG)
    calls = iter([500, 429, 200, 400])

    def script(asked: Any) -> Reply:
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        headers = {"Retry-After": "0"}
        status = next(calls)
        return Reply(page(asked) if status == 200 else {"error": f"key {KEY}"}, status, headers)

    def rows(run: HttpRun, ask: Ask) -> Iterator[Item]:
        for number in range(2):
            answer = run.http.get(ask.table.id, f"/v1/charges?api_key={KEY}", cursor=KEY)
            yield Page(split(answer, "data").records, answer.at)
            yield Checkpoint({"n": number})

    with serving(script) as server, reading(server.url, {"cursor_pages": rows}) as run, pytest.raises(Permanent) as caught:
        extracted(run, tmp_path)
    assert "***" in str(caught.value)
    out = capfd.readouterr()
    said = [str(caught.value), repr(caught.value), caplog.text.replace(f"api_key={KEY}", ""), out.out, out.err]
    assert not any(KEY in text for text in said)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in written
    assert KEY not in str(raw_lines(tmp_path))


def test_an_extraction_can_be_committed_once(tmp_path: Path) -> None:
    extraction = told(tmp_path, Page([b'{"id":1}'], AT))
    assert extraction.commit() is None
    assert replace(extraction).pending is None
