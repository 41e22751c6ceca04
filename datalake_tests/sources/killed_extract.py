"""An extraction that dies by SIGKILL at a chosen boundary: `python -m … WHERE WHEN NTH URL FOLDER` (see `killed.py`)."""

import sys
from pathlib import Path

from datalake.sources import engine, spool
from datalake_tests.killed import arm
from datalake_tests.sources.scripted import extracted, reading

SMALL = 1500
"""Bytes of lines after which a part is closed and a commit made: about two pages."""

if __name__ == "__main__":
    where, when, nth, url, folder = sys.argv[1:]
    engine.COMMIT_BYTES = spool.PART_BYTES = SMALL
    arm(where, when, int(nth))
    with reading(url) as run:
        extracted(run, Path(folder))
