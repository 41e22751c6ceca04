"""Received webhooks in the lake's object store: each body kept once, byte for byte, and found again in the order of arrival.

    inbox/<source>/arrivals/dt=YYYY-MM-DD/<time of arrival>-<sha256 of the body>
    inbox/<source>/bodies/<first two of the sha256>/<sha256>

The arrival is written before its body, and taken back where the body was there already: so a body that is there has an arrival,
whatever was killed in between, and the same bytes are kept once however often and wherever they come in. An arrival without a
body is a delivery under way, or one that was never answered and will come again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from datalake.lake.lake import Lake
from datalake.lake.objects import AlreadyExists, Objects
from datalake.settings import Settings

_TIME = "%Y%m%dT%H%M%S%f"


class Arrival(msgspec.Struct, frozen=True):
    """What is known of a delivery beside its body."""

    sha256: str
    received_at: str
    """UTC, as raw lines write it."""
    channel: str
    """The channel that the address named; empty where it named none."""
    signed: bool
    """Whether a signature over the bytes proved the sender; otherwise a shared secret did."""


class Inbox:
    """The inbox of one source. Safe to share between threads, processes and machines."""

    def __init__(self, objects: Objects, source: str) -> None:
        self.objects = objects
        self._root = f"inbox/{source}"
        self._synced: set[Path] = set()
        self._lock = threading.Lock()

    def put(self, body: bytes, *, channel: str, signed: bool) -> bool:
        """Keep a body. It is durable when this returns; False says that the same bytes were there already."""
        now = dt.datetime.now(dt.UTC)
        sha = hashlib.sha256(body).hexdigest()
        arrival = Arrival(sha, now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), channel, signed)
        key = f"{self._day(now.date())}/{now.strftime(_TIME)}-{sha}"
        self._keep(key, msgspec.json.encode(arrival))
        try:
            self._keep(self._body(sha), body)
        except AlreadyExists:
            self.objects.delete(key)
            return False
        return True

    def arrivals(self, since: dt.datetime | None) -> Iterator[tuple[str, dt.datetime]]:
        """Keys of arrivals from `since` (UTC; None: all), in the order of their time."""
        for day in self._days(since):
            first = f"{day}/{since.strftime(_TIME)}" if since else None
            for key in self.objects.list(day, first):
                time = key.rpartition("/")[2].partition("-")[0]
                yield key, dt.datetime.strptime(time, _TIME).replace(tzinfo=dt.UTC)

    def get(self, key: str) -> tuple[Arrival, bytes] | None:
        """An arrival and its body; None where the body is not there, or the arrival was taken back."""
        try:
            arrival = msgspec.json.decode(self.objects.get(key), type=Arrival)
            return arrival, self.objects.get(self._body(arrival.sha256))
        except FileNotFoundError:
            return None

    def _days(self, since: dt.datetime | None) -> list[str]:
        first = self._day(since.date()) if since else ""
        days = (f"{self._root}/arrivals/{name}" for name in self.objects.folders(f"{self._root}/arrivals"))
        return [day for day in days if day >= first]

    def _day(self, day: dt.date) -> str:
        return f"{self._root}/arrivals/dt={day}"

    def _body(self, sha: str) -> str:
        return f"{self._root}/bodies/{sha[:2]}/{sha}"

    def _keep(self, key: str, body: bytes) -> None:
        """Create the object so that it outlives a loss of power. Raises AlreadyExists."""
        self.objects.put_new(key, body)
        if self.objects.local:
            path = Path(self.objects.uri(key))
            _sync(path)
            self._sync_folders(path.parent)

    def _sync_folders(self, folder: Path) -> None:
        """The new entry in its folder; and once a process, the folders above, which may be new as well."""
        _sync(folder)
        for above in folder.parents:
            if above == Path(self.objects.url).parent or above in self._synced:
                break
            _sync(above)
        with self._lock:
            self._synced.update(folder.parents)


def open_inbox(settings: Settings, source: str) -> Inbox:
    """The source's inbox in the lake of these settings."""
    return Inbox(Lake(settings).objects, source)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
