"""`kill -9` at every boundary of a sync, with real processes: the next run ends with the table of an undisturbed run."""

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


def sync(server: Server, lake: Path, *prefix: str) -> int:
    environment = {**os.environ, **server.env, "DATALAKE_URL": str(lake)}
    what = [f"stripe.{name}" for name in TABLES]
    done = subprocess.run([sys.executable, "-m", *prefix, "sync", *what], env=environment, check=False, capture_output=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()[-2000:]
    return done.returncode


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
    source = contracts.load_source("stripe")
    lake = Lake(Settings.load({"DATALAKE_URL": str(tmp_path)}))
    try:
        for name in TABLES:
            table = source.tables[name]
            told = oracle.expected(source, table, server.ledger(name))
            assert oracle.difference(told, oracle.published(lake, table)) == [], table.id
    finally:
        lake.close()
