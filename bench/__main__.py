"""All figures, one after another: `python -m bench` (an hour) or `python -m bench --quick` (small sizes, once, a few minutes).

Each bench runs as a process of its own, prints a line for people and a JSON line; the JSON lines are kept in bench/out.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

FULL: list[list[str]] = [
    ["bench.extract", "1000000", "3"],
    ["bench.fanout", "3"],
    ["bench.limits"],
    ["bench.mongodb", "--rows", "500000", "--repeat", "3"],
    ["bench.treat"],
    ["bench.merge"],
    ["bench.endtoend"],
    ["bench.load"],
]
QUICK: list[list[str]] = [
    ["bench.extract", "20000", "1"],
    ["bench.mongodb", "--rows", "20000", "--repeat", "1"],
    ["bench.treat", "--mb", "50", "--repeat", "1"],
    ["bench.merge", "--rows", "100000", "--repeat", "1"],
    ["bench.endtoend", "--rows", "20000", "--repeat", "1"],
    ["bench.load"],
]


def main() -> int:
    """Run every bench; the number of those that failed."""
    folder = Path(__file__).parent / "out"
    folder.mkdir(exist_ok=True)
    failed = 0
    with (folder / f"figures-{time.strftime('%Y-%m-%d-%H%M')}.jsonl").open("w") as figures:
        for command in QUICK if "--quick" in sys.argv[1:] else FULL:
            print(f"== {' '.join(command)}", flush=True)
            done = subprocess.run([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, check=False)
            for line in done.stdout.splitlines():
                (figures.write(line + "\n") if line.startswith("{") else print(line, flush=True))
            failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
