"""A lock that processes on several machines share, made of put-if-absent: whoever creates the next number holds it.

Needed only where the machines share nothing but the lake. A holder that dies loses the lease when its time is up.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator

import msgspec

from datalake.lake.objects import AlreadyExists, Objects

SECONDS = 300.0
"""How long a lease holds; what is done under one must take less. Clocks of the machines may differ by a part of that."""


class LeaseTaken(TimeoutError):
    """Another process held the lease for the whole time that one was ready to wait."""


@contextlib.contextmanager
def lease(objects: Objects, name: str, *, wait: float, seconds: float = SECONDS) -> Iterator[None]:
    """Hold the lease `name` meanwhile. Waits up to `wait` seconds for another holder; raises LeaseTaken after that."""
    give_up = time.monotonic() + wait
    while (key := _take(objects, f"leases/{name}", seconds)) is None:
        if time.monotonic() > give_up:
            raise LeaseTaken(f"another process holds the lease {name} of {objects.url}; run again when it has ended")
        time.sleep(random.uniform(0.05, 0.25))  # noqa: S311 - no secret hangs on it
    try:
        yield
    finally:
        objects.put(key, _until(0.0))  # only the holder writes its own number


def _take(objects: Objects, folder: str, seconds: float) -> str | None:
    """The key of the lease now held, or None while somebody else holds one."""
    keys = list(objects.list(folder))
    if keys:
        try:
            until: float = msgspec.json.decode(objects.get(keys[-1]))["until"]
        except FileNotFoundError:  # a newer holder has tidied up
            return None
        if until > time.time():
            return None
    number = int(keys[-1].rpartition("/")[2]) + 1 if keys else 1
    key = f"{folder}/{number:020d}"
    try:
        objects.put_new(key, _until(time.time() + seconds))
    except AlreadyExists:
        return None
    if list(objects.list(folder))[-1] != key:
        # Others took and tidied up this very number between our look and our put: theirs is the higher one.
        objects.delete(key)
        return None
    for old in keys:
        with contextlib.suppress(FileNotFoundError):
            objects.delete(old)
    return key


def _until(moment: float) -> bytes:
    return msgspec.json.encode({"until": moment})
