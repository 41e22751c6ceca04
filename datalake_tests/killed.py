"""A `datalake` command that dies by SIGKILL at a chosen boundary: `python -m datalake_tests.killed WHERE WHEN NTH -- ARGS…`.

WHERE is `module:Class.method` or `module:function`; WHEN is `before` or `after` its NTH call. It runs in a process of its own.
"""

import functools
import importlib
import os
import signal
import sys
import threading


def arm(where: str, when: str, nth: int) -> None:
    """Make the NTH call of `where` the process's last."""
    module_name, _, path = where.partition(":")
    owner = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)
    calls = 0
    lock = threading.Lock()

    @functools.wraps(original)
    def deadly(*args: object, **kwargs: object) -> object:
        nonlocal calls
        with lock:
            calls += 1
            mine = calls
        if mine == nth and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if mine == nth and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


if __name__ == "__main__":
    if "upkeep" in sys.argv[1]:
        # Compaction is due after many merges; here it is due at once.
        importlib.import_module("datalake.pipeline").needs_compaction = lambda _lake, _table: True  # type: ignore[attr-defined]
    arm(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    from datalake.cli import main

    main(sys.argv[5:], standalone_mode=True)
