"""Extraction killed by SIGKILL at every boundary, in real processes; and two extractions of one table at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from datalake.lake.raw import ConcurrentCommit
from datalake.sources import engine, spool
from datalake.sources.base import Ask, Item
from datalake.sources.engine import HttpRun, extract
from datalake.sources.progress import LogProgress
from datalake_tests.sources.killed_extract import SMALL
from datalake_tests.sources.scripted import (
    ALL_IDS,
    Reply,
    cursor_pages,
    extracted,
    page,
    raw_ids,
    raw_lines,
    raw_log,
    reading,
    serving,
)

BOUNDARIES = {
    "after the first response": ("datalake.sources.http:Http.get", "after", 1),
    "after a later response": ("datalake.sources.http:Http.get", "after", 8),
    "before a part is begun": ("datalake.lake.raw:PartWriter.write", "before", 1),
    "in mid-part": ("datalake.lake.raw:PartWriter.write", "after", 4),
    "before a part is closed": ("datalake.lake.raw:PartWriter.close", "before", 2),
    "after a part, before its commit": ("datalake.lake.raw:PartWriter.close", "after", 2),
    "before the first commit": ("datalake.lake.raw:RawLog.append", "before", 1),
    "after the first commit": ("datalake.lake.raw:RawLog.append", "after", 1),
    "before a later commit": ("datalake.lake.raw:RawLog.append", "before", 3),
    "after a later commit": ("datalake.lake.raw:RawLog.append", "after", 3),
}


@pytest.fixture(autouse=True)
def small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "COMMIT_BYTES", SMALL)
    monkeypatch.setattr(spool, "PART_BYTES", SMALL)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_next_run_ends_as_if_nothing_had_happened(boundary: str, tmp_path: Path) -> None:
    where, when, nth = BOUNDARIES[boundary]
    with serving(lambda asked: Reply(page(asked))) as server:
        command = [sys.executable, "-m", "datalake_tests.sources.killed_extract", where, when, str(nth), server.url]
        died = subprocess.run([*command, str(tmp_path)], check=False)
        assert died.returncode == -signal.SIGKILL
        before = raw_ids(tmp_path)
        assert before == ALL_IDS[: len(before)]
        asked_before = len(server.asked)
        with reading(server.url) as run:
            extracted(run, tmp_path)
        assert raw_ids(tmp_path) == ALL_IDS
        assert len(server.asked) - asked_before == 10 - len(before) // 10  # committed pages are not read again


def test_of_two_extractions_at_once_one_commits_and_a_new_run_converges(tmp_path: Path) -> None:
    both_begun = threading.Barrier(2)
    lost: list[str] = []

    def together(run: HttpRun, ask: Ask) -> Iterator[Item]:
        both_begun.wait(10)
        return cursor_pages(run, ask)

    def one(url: str) -> None:
        with reading(url, {"cursor_pages": together}) as run:
            try:
                extracted(run, tmp_path)
            except ConcurrentCommit as error:
                lost.append(str(error))

    with serving(lambda asked: Reply(page(asked))) as server:
        threads = [threading.Thread(target=one, args=(server.url,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(lost) == 1
        assert "sample.charges" in lost[0]
        assert "run again" in lost[0]
        with reading(server.url) as run:
            extracted(run, tmp_path)
    sequences = [commit.sequence for commit in raw_log(tmp_path).since(0)]
    assert sequences == list(range(1, len(sequences) + 1))
    newest = {line["record"]["id"]: line["record"] for line in raw_lines(tmp_path)}
    assert sorted(newest) == ALL_IDS
    assert raw_ids(tmp_path)[:100] == ALL_IDS


def test_the_loser_of_the_last_commit_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "COMMIT_BYTES", 2**30)
    log = raw_log(tmp_path)
    with serving(lambda asked: Reply(page(asked))) as server, reading(server.url) as run:
        one, two = (extract(run, log.table, log, run_id=name, parent=None, progress=LogProgress()) for name in ("one", "two"))
        assert one.commit() is not None
        with pytest.raises(ConcurrentCommit):
            two.commit()
        assert [commit.run for commit in log.since(0)] == ["one"]
        assert raw_ids(tmp_path) == ALL_IDS
