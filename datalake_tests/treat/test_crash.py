"""`kill -9` around the publishing commit, and a big input in little memory: real processes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datalake.lake.lake import Lake
from datalake.settings import Settings
from datalake_tests.treat.build import T2, commit, content, line, quarantined, table, treat

ORDERS = table({"id": "string", "amount": "int64"})

BOUNDARIES = {
    "before the merge": ("datalake.treat.merge:merge_records", "before", 1),
    "after the merge": ("datalake.treat.merge:merge_records", "after", 1),
    "before quarantine is published": ("datalake.lake.catalog:commit", "before", 1),
    "between quarantine and table": ("datalake.lake.catalog:commit", "after", 1),
    "after the table is published": ("datalake.lake.catalog:commit", "after", 2),
}

TREAT = """
import sys
from datalake.lake.lake import Lake
from datalake.settings import Settings
from datalake_tests.killed import arm
from datalake_tests.treat.test_crash import ORDERS, treat

where, when, nth, folder = sys.argv[1:]
arm(where, when, int(nth))
treat(Lake(Settings({"DATALAKE_URL": folder})), ORDERS)
"""


def fill(lake: Lake) -> None:
    commit(lake, ORDERS, [line({"id": f"k{n}", "amount": n}) for n in range(50)])
    treat(lake, ORDERS)
    commit(lake, ORDERS, [line({"id": f"k{n}", "amount": -n}, T2) for n in range(25, 75)], [line('{"id":"bad","amount":"x"}')])
    commit(lake, ORDERS, [line({"id": "k1"}, T2, op="delete")])


@pytest.mark.slow
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_next_run_ends_with_the_table_of_an_undisturbed_one(tmp_path: Path, boundary: str) -> None:
    where, when, nth = BOUNDARIES[boundary]
    left, right = (Lake(Settings({"DATALAKE_URL": str(tmp_path / name)})) for name in ("left", "right"))
    try:
        fill(left)
        fill(right)
        treat(right, ORDERS)
        command = [sys.executable, "-c", TREAT, where, when, str(nth), str(tmp_path / "left")]
        killed = subprocess.run(command, check=False, capture_output=True, cwd=Path(__file__).parents[2])
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        treat(left, ORDERS)
        assert content(left, ORDERS) == content(right, ORDERS)
        assert quarantined(left, "raw_commit", "line", "reason") == quarantined(right, "raw_commit", "line", "reason")
        assert left.properties(ORDERS)["datalake.raw_commit"] == "3"
    finally:
        left.close()
        right.close()


BIG = """
import json
import sys
from datalake.lake.lake import Lake
from datalake.settings import Settings
from datalake_tests.treat.build import source, table
from datalake.treat import prepare

lake = Lake(Settings({"DATALAKE_URL": sys.argv[1], "DATALAKE_MEMORY": "200MB", "DATALAKE_THREADS": "2"}))
of = table({"id": "string", "amount": "int64", "text": "string", "more": "json"})
batch = prepare(lake, of, source=source(), run_id="run")
assert batch.passed, batch.checks
batch.commit()
# Not ru_maxrss: Linux counts what the parent process had before this program began.
[peak] = [int(text.split()[1]) // 1024 for text in open("/proc/self/status") if text.startswith("VmHWM")]
print(json.dumps([batch.table_rows, batch.rows_rejected, batch.rows_superseded, peak]))
"""


@pytest.mark.slow
def test_memory_stays_within_the_setting_however_large_the_input(tmp_path: Path) -> None:
    """400 MB of lines with 200 MB for DuckDB; Python, pyiceberg and the readers' buffers need some 400 MB beside it."""
    import json

    of = table({"id": "string", "amount": "int64", "text": "string", "more": "json"})
    lake = Lake(Settings({"DATALAKE_URL": str(tmp_path)}))
    filler = "".join(chr(97 + n % 26) for n in range(900))
    parts = []
    for part in range(4):
        lines = []
        for n in range(part * 50_000, (part + 1) * 50_000):
            text = f"{n * 7919 % 1_000_003}{filler[n % 400 :]}{n}"
            lines.append(line(f'{{"id":"k{n % 180_000}","amount":{n},"text":"{text}","more":{{"n":[{n},"{text}"]}}}}'))
        lines.append(line(f'{{"id":"bad{part}","amount":"x"}}'))
        parts.append(lines)
    commit(lake, of, *parts)
    lake.close()
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", BIG, str(tmp_path)], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told, rejected, superseded, peak = json.loads(done.stdout)
    assert (told, rejected, superseded) == (180_000, 4, 20_000)
    assert peak < 750, f"{peak} MB"
