"""Syncs as processes: killed by `kill -9` at every boundary, and two at once. The tables end as if nothing had happened."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from datalake import contracts
from datalake.lake.lake import Lake
from datalake.sandbox.base import Server, running
from datalake.settings import Settings
from datalake_tests import oracle

TABLES = ("balance_transactions", "balance_transaction_fee_details", "customers")

BOUNDARIES = {
    "after a response": ("datalake.sources.http:Http.get", "after", 3),
    "in mid-part": ("datalake.lake.raw:PartWriter.write", "after", 2),
    "after a part": ("datalake.lake.raw:PartWriter.close", "after", 2),
    "before a raw commit": ("datalake.lake.raw:RawLog.append", "before", 2),
    "after a raw commit": ("datalake.lake.raw:RawLog.append", "after", 2),
    "before the merge is published": ("datalake.treat:Batch.commit", "before", 2),
    "in the publishing commit": ("datalake.lake.catalog:commit", "before", 2),
    "after the publishing commit": ("datalake.lake.catalog:commit", "after", 2),
    "after the merge is published": ("datalake.treat:Batch.commit", "after", 2),
    "in mid-compaction": ("datalake.lake.upkeep:commit", "before", 1),
    "after compaction": ("datalake.lake.upkeep:commit", "after", 1),
    "before registration": ("datalake.pipeline:register", "before", 2),
    "in registration": ("datalake.lake.register:_set_view", "after", 2),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("stripe", seed=3, scale=0.2, limits=False) as server:
        yield server


def start(server: Server, lake: Path, *prefix: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **server.env, "DATALAKE_URL": str(lake)}
    command = [sys.executable, "-m", *prefix, "sync", *(f"stripe.{name}" for name in TABLES)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> int:
    """Exit code of a sync that succeeded or was killed; any other end is a failure."""
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()[-2000:]
    return process.returncode


def sync(server: Server, lake: Path, *prefix: str) -> int:
    return end(start(server, lake, *prefix))


def assert_equals_the_ledger(server: Server, folder: Path) -> None:
    source = contracts.load_source("stripe")
    lake = Lake(Settings.load({"DATALAKE_URL": str(folder)}))
    try:
        for name in TABLES:
            table = source.tables[name]
            told = oracle.expected(source, table, server.ledger(name))
            assert oracle.difference(told, oracle.published(lake, table)) == [], table.id
    finally:
        lake.close()


@pytest.mark.slow
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_next_run_ends_as_if_nothing_had_happened(server: Server, tmp_path: Path, boundary: str) -> None:
    where, when, nth = BOUNDARIES[boundary]
    if "compaction" in boundary:
        assert sync(server, tmp_path, "datalake.cli") == 0
        server.advance(3)
    killed = sync(server, tmp_path, "datalake_tests.killed", where, when, str(nth), "--")
    assert killed == -signal.SIGKILL, "the boundary was never reached: the test would prove nothing"
    assert sync(server, tmp_path, "datalake.cli") == 0
    assert_equals_the_ledger(server, tmp_path)


@pytest.mark.slow
def test_two_syncs_at_once_converge(server: Server, tmp_path: Path) -> None:
    for days in (0, 2):
        server.advance(days)
        both = [start(server, tmp_path, "datalake.cli") for _ in range(2)]
        assert [end(process) for process in both] == [0, 0]
        assert sync(server, tmp_path, "datalake.cli") == 0
        assert_equals_the_ledger(server, tmp_path)
