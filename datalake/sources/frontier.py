"""How far a list has been read, and what was read just below that point, so that reading it again tells only what is new.

Sources that read from `newest` minus an overlap use it; what a list is and how it is asked lives in their modules.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any

from datalake.sources.records import Record

MOST_SEEN = 2_000
"""Records remembered below the frontier. Of more, the oldest are told again: the table keeps one of equal versions."""


class Frontier:
    """The frontier of one list, from the `state` its last reading left ({} the first time).

    Times are texts of one form, `2026-11-22T13:00:00Z`, so that they compare as they stand.
    """

    def __init__(self, state: dict[str, Any], overlap: dt.timedelta) -> None:
        self._before = state
        self._overlap = overlap
        self._known = frozenset(state.get("seen", ()))
        self._near: dict[str, str] = {}
        self._moved = False
        self.newest: str = state.get("newest", "")
        self.start = earlier(self.newest, overlap)
        """From where to read again; empty where nothing was read before."""

    def fresh(self, records: Sequence[Record], times: Sequence[str]) -> list[tuple[Record, str]]:
        """The records that were not told before, byte for byte, each with its time. `times` belong to them one by one."""
        new = []
        for record, time in zip(records, times, strict=True):
            mark = hashlib.blake2b(record, digest_size=8).hexdigest()
            self._near[mark] = time
            self.newest = max(self.newest, time)
            if mark not in self._known:
                new.append((record, time))
        self._moved = self._moved or bool(new)
        if len(self._near) > 4 * MOST_SEEN:
            self._near = self._nearest()
        return new

    def state(self) -> dict[str, Any]:
        """What the next reading needs: `newest` and `seen`. The state before where nothing new came."""
        if not self._moved:
            return {name: self._before[name] for name in ("newest", "seen") if name in self._before}
        return {"newest": self.newest, "seen": sorted(self._nearest())}

    def _nearest(self) -> dict[str, str]:
        bound = earlier(self.newest, self._overlap)
        near = sorted(((time, mark) for mark, time in self._near.items() if time >= bound), reverse=True)
        return {mark: time for time, mark in near[:MOST_SEEN]}


def earlier(time: str, span: dt.timedelta) -> str:
    """
    >>> earlier("2026-11-22T13:00:00Z", dt.timedelta(hours=1))
    '2026-11-22T12:00:00Z'
    >>> earlier("", dt.timedelta(hours=1))
    ''
    """
    return text(dt.datetime.fromisoformat(time) - span) if time else ""


def text(time: dt.datetime | None) -> str:
    """A point in time as GitHub writes it, UTC and whole seconds; empty for None."""
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else ""
