"""How fast a source may be asked: one budget shared by all workers of a token. What an answer means is judged elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from datalake.sources.base import QuotaSpent

LONGEST_PAUSE = 3900.0
"""Seconds a run waits for a limit to open again (an hour's limit and a little); beyond it the quota counts as spent."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any stretch of `seconds`."""

    calls: int
    seconds: float


class Budget:
    """Lets calls go when the limits allow.

    `limits` hold for all calls together, `each_operation` for every operation by itself (Stripe counts both ways).
    `concurrency` is the most calls in flight at once.
    """

    def __init__(
        self,
        limits: Sequence[Limit] = (),
        *,
        each_operation: Limit | None = None,
        concurrency: int = 16,
        waiting: Callable[[float, str], None] = lambda _seconds, _why: None,
    ) -> None:
        self._limits = [_Sliding(limit) for limit in limits]
        self._each_operation = each_operation
        self._operations: dict[str, _Sliding] = {}
        self._concurrency = concurrency
        self._waiting = waiting
        self._changed = threading.Condition()
        self._in_flight = 0
        self._open_at = 0.0
        self._why = ""

    def enter(self, operation: str) -> float:
        """Wait until a call may go, and count it. Returns the seconds waited."""
        began = time.monotonic()
        with self._changed:
            while True:
                now = time.monotonic()
                limits = [*self._limits, *self._of(operation)]
                open_at = max([self._open_at, *(limit.open_at() for limit in limits)])
                if now >= open_at and self._in_flight < self._concurrency:
                    for limit in limits:
                        limit.count(now)
                    self._in_flight += 1
                    return now - began
                self._changed.wait(open_at - now if open_at > now else None)

    def leave(self) -> None:
        """The call that entered has its answer."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify()

    def pause(self, seconds: float, why: str) -> None:
        """Nobody calls for `seconds`. Raises QuotaSpent where that is longer than a run should wait."""
        if seconds > LONGEST_PAUSE:
            raise QuotaSpent(f"the limit opens again in {seconds:,.0f} s only: {why}")
        with self._changed:
            self._open_at = max(self._open_at, time.monotonic() + seconds)
            self._changed.notify_all()
        self._waiting(seconds, why)

    def _of(self, operation: str) -> list[_Sliding]:
        if self._each_operation is None:
            return []
        if operation not in self._operations:
            self._operations[operation] = _Sliding(self._each_operation)
        return [self._operations[operation]]


class _Sliding:
    """The times of the last calls under one limit."""

    def __init__(self, limit: Limit) -> None:
        self._seconds = limit.seconds
        self._times: deque[float] = deque(maxlen=limit.calls)

    def open_at(self) -> float:
        full = len(self._times) == self._times.maxlen
        return self._times[0] + self._seconds if full else 0.0

    def count(self, now: float) -> None:
        self._times.append(now)
