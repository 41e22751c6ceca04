"""How fast a source may be asked: one budget shared by all workers of a token. What an answer means is judged elsewhere.

Three kinds of knowledge, in the order of trust: limits declared by the module; what answers tell (`x-ratelimit-*`,
`ratelimit-*`, `Retry-After`); and what the first refused calls teach where answers tell little.
"""

from __future__ import annotations

import email.utils
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from datalake.sources.base import QuotaSpent

LONGEST_PAUSE = 3900.0
"""Seconds a run waits for a limit to open again (an hour's limit and a little); beyond it the quota counts as spent."""
SLOW = 1.0
"""Seconds after which nobody waits any longer for a slow call of others to land."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any stretch of `seconds`."""

    calls: int
    seconds: float


@dataclass(slots=True)
class Ticket:
    """A call that may go: give it back with `Budget.leave`."""

    operation: str
    sent: float
    waited: float
    lane: _Lane


class Budget:
    """Lets calls go when the limits allow.

    `limits` hold for all calls together, `each_operation` for every operation by itself (Stripe counts both ways).
    `concurrency` is the most calls in flight at once; a run begins with waves of few, so that an unknown limit is not met
    by all at once.
    """

    def __init__(
        self,
        limits: Sequence[Limit] = (),
        *,
        each_operation: Limit | None = None,
        concurrency: int = 16,
        waiting: Callable[[float, str], None] = lambda _seconds, _why: None,
    ) -> None:
        self._declared = [_Sliding(limit) for limit in limits]
        self._each_operation = each_operation
        self._operations: dict[str, _Sliding] = {}
        self._waves = _Waves(concurrency)
        self._waiting = waiting
        lock = threading.Lock()
        self._room = threading.Condition(lock)
        self._time = threading.Condition(lock)
        self._in_flight = 0
        self._open_at = 0.0
        self._why = "the limit on calls"
        self._told = 0.0
        self._learned = _Learned()
        self._lanes: dict[str, _Lane] = {"": _Lane()}
        self._lane_of: dict[str, str] = {}

    def enter(self, operation: str) -> Ticket:
        """Wait until a call may go, and count it. Raises QuotaSpent where a limit stays shut longer than a run waits."""
        began = time.monotonic()
        with self._room:
            while True:
                now = time.monotonic()
                lane = self._lanes[self._lane_of.get(operation, "")]
                limits = self._limits(operation)
                open_at = max(self._open_at, lane.open_at(now), self._learned.open_at(), *(limit.open_at() for limit in limits))
                if open_at > now:
                    # The place that woke this thread may serve another one.
                    self._room.notify()
                    self._wait(open_at - now)
                elif (
                    lane.has_room()
                    and self._waves.have_room(self._in_flight, now)
                    and self._learned.has_room(self._in_flight, now)
                ):
                    break
                else:
                    self._room.wait(SLOW)
            for limit in limits:
                limit.count(now)
            self._learned.count(now)
            self._waves.count(self._in_flight, now)
            self._in_flight += 1
            lane.in_flight += 1
            return Ticket(operation, now, now - began, lane)

    def leave(self, ticket: Ticket, headers: Mapping[str, str] | None = None, *, limited: bool = False) -> float:
        """The call has its answer, or failed (no headers). Returns the seconds for which everybody now waits."""
        with self._room:
            now = time.monotonic()
            self._in_flight -= 1
            ticket.lane.in_flight -= 1
            report = _Report.read(headers, now) if headers is not None else None
            if report is not None:
                self._lane_of[ticket.operation] = report.resource
                self._lanes.setdefault(report.resource, _Lane()).hear(report)
            pause = 0.0
            if limited:
                pause = self._refused(ticket, headers or {}, report, now)
            elif headers is not None:
                self._waves.answered()
                self._learned.answered(ticket.sent)
            self._room.notify(1 if self._waves.over else 64)
            return pause

    def pause(self, seconds: float, why: str) -> None:
        """Nobody calls for `seconds`: for a vendor's own way to tell a limit. Raises QuotaSpent for longer than a run waits."""
        if seconds > LONGEST_PAUSE:
            raise QuotaSpent(f"the limit on calls opens again in {seconds:,.0f} s only: {why}")
        with self._room:
            self._open_at = max(self._open_at, time.monotonic() + seconds)
            self._why = why

    def spend(self, calls: int) -> None:
        """Others, such as a run just before this one, have used so many calls of the declared limits: they count from now."""
        with self._room:
            now = time.monotonic()
            for limit in self._declared:
                for _ in range(calls):
                    limit.count(now)

    def _refused(self, ticket: Ticket, headers: Mapping[str, str], report: _Report | None, now: float) -> float:
        told = retry_after(headers)
        if report is not None and report.remaining == 0 and report.resets_at > now:
            # The limit tells its own end; it binds the calls that it counts, not all.
            return max(told or 0.0, report.resets_at - now)
        if told is None and self._open_at > now:
            return self._open_at - now  # the vendor's own rule has set the pause
        pause = self._learned.refused(ticket.sent, told)
        if not self._learned.known:
            self._waves.begin()
        self._open_at = max(self._open_at, now + pause)
        return pause

    def _wait(self, seconds: float) -> None:
        if seconds > LONGEST_PAUSE:
            raise QuotaSpent(f"the limit on calls opens again in {seconds:,.0f} s only")
        now = time.monotonic()
        if now + seconds > self._told + 0.5:
            self._told = now + seconds
            self._waiting(seconds, self._why)
        self._time.wait(seconds)

    def _limits(self, operation: str) -> list[_Sliding]:
        if self._each_operation is None:
            return self._declared
        if operation not in self._operations:
            self._operations[operation] = _Sliding(self._each_operation)
        return [*self._declared, self._operations[operation]]


class _Sliding:
    """The times of the last calls under one limit. `guard` allows for calls that take unequal time to the server."""

    def __init__(self, limit: Limit, guard: float = 0.0) -> None:
        self.calls = limit.calls
        self.seconds = limit.seconds
        self.guard = guard or min(0.25, max(0.01, limit.seconds * 0.01))
        self._times: deque[float] = deque(maxlen=limit.calls)

    def open_at(self) -> float:
        full = len(self._times) == self.calls
        return self._times[0] + self.seconds + self.guard if full else 0.0

    def count(self, now: float) -> None:
        self._times.append(now)

    def raise_by(self, calls: int) -> None:
        self.calls += calls
        self._times = deque(self._times, maxlen=self.calls)


@dataclass(frozen=True, slots=True)
class _Report:
    """What an answer tells of its limit. `resets_at` is on this machine's monotonic clock."""

    resource: str
    calls: int | None
    remaining: int
    resets_at: float
    exact: float
    """How far `resets_at` may be off, seconds."""

    @classmethod
    def read(cls, headers: Mapping[str, str], now: float) -> _Report | None:
        """From `x-ratelimit-*` or `ratelimit-*`; None where the answer tells nothing of the kind."""
        for prefix in ("x-ratelimit-", "ratelimit-"):
            remaining, reset = headers.get(prefix + "remaining", ""), headers.get(prefix + "reset", "")
            if not remaining.isdigit():
                continue
            try:
                resets = float(reset)
            except ValueError:
                return None
            if resets > 1e9:  # a point in time; less is a stretch from now on
                resets -= _server_time(headers)
            limit = headers.get(prefix + "limit", "").partition(",")[0].strip()
            return cls(
                headers.get(prefix + "resource", ""),
                int(limit) if limit.isdigit() else None,
                int(remaining),
                now + max(0.0, resets),
                0.05 if "." in reset else 1.0,
            )
        return None


class _Lane:
    """A limit that tells its state in every answer. Vendors may have several, each for some operations."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._calls: int | None = None
        self._remaining: int | None = None
        self._resets_at = 0.0

    def hear(self, report: _Report) -> None:
        """Take what an answer tells. Answers overtake each other, so within a window the least that was told counts."""
        self._calls = report.calls or self._calls
        if self._remaining is None or report.resets_at > self._resets_at + report.exact:
            self._remaining, self._resets_at = report.remaining, report.resets_at
        elif report.resets_at > self._resets_at - report.exact:
            self._remaining = min(self._remaining, report.remaining)
            # Of several tellings of one end the latest is safe: a call before it is refused.
            self._resets_at = max(self._resets_at, report.resets_at)

    def open_at(self, now: float) -> float:
        """When a call may go as far as this limit is known."""
        opens_at = self._resets_at + 0.005
        if now >= opens_at:
            self._remaining = self._calls
        return opens_at if self._remaining == 0 else 0.0

    def has_room(self) -> bool:
        """Calls in flight may or may not be in what was told; they are counted once more until they land."""
        return self._remaining is None or self._remaining > self.in_flight or self.in_flight == 0


class _Waves:
    """How a run begins: two calls, and when both have landed four, then eight, and so on up to `concurrency` at once.

    A limit that nobody knows then refuses the end of one wave only, not also the calls that follow on its answers.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self.begin()

    def begin(self) -> None:
        """Begin anew, as after a refusal."""
        self._size = self._left = min(2, self._concurrency)
        self._most = 0
        self._began = math.inf
        self._answered = 0
        self.over = False

    def have_room(self, in_flight: int, now: float) -> bool:
        if self.over or now - self._began > SLOW:
            return in_flight < self._concurrency
        return in_flight == 0 or (self._left > 0 and in_flight < self._concurrency)

    def count(self, in_flight: int, now: float) -> None:
        """A call goes now."""
        if self._left == 0:
            # Calls one after another prove little about many at once.
            self._size = self._left = min(2 * max(2, self._most), self._concurrency)
            self._most = 0
        if self._left == self._size:
            self._began = now
        self._left -= 1
        self._most = max(self._most, in_flight + 1)

    def answered(self) -> None:
        self._answered += 1
        self.over = self.over or self._answered >= 4 * self._concurrency


class _Learned:
    """A limit that shows only when it refuses calls: how many fit, and in what stretch, is inferred from the refusals.

    Calls are seen in rounds: those since the limit last opened. A round that ends in a refusal tells how many calls fit,
    and the wait that the refusal names tells when the window ends. Whole seconds are rounded up by servers, so the window
    is longer than (refused at + wait - 1 - first call of the round), and taken to be whole seconds. One refusal may be a
    stray one (a lock, a burst elsewhere), so a guess counts when a second round comes out alike; and until it has held for
    a round, one call goes ahead of the others.
    """

    STEADY_ROUNDS = 60
    """Rounds (and `STEADY_CALLS`) without a refusal after which the limit is tried one call higher: it may be too low."""
    STEADY_CALLS = 200
    DOUBT = 5
    """Rounds within which a second refusal is no accident."""
    MOST_CUTS = 6
    """How often the calls of a window are taken for one in twenty too many before the window is taken for too short."""

    def __init__(self) -> None:
        self._limit: _Sliding | None = None
        self._fitted = 0
        self._round_at = self._round_before = self._round_ended = self._sent_at = 0.0
        self._cuts = 0
        self._sent = self._answered = 0
        self._refusal: _Refusal | None = None
        self._refusals = 0
        self._longest_wait = 0.0
        self._by_guess = False
        self._proven = False
        self._doubt = 0
        self._rounds = self._calls = 0
        self._patience = 1
        self._step = 1
        self._tried = 0

    @property
    def known(self) -> bool:
        return self._limit is not None

    def open_at(self) -> float:
        return self._limit.open_at() if self._limit else 0.0

    def has_room(self, in_flight: int, now: float) -> bool:
        """After a refusal all must have landed before anybody goes; where a guess is put to the test, one call goes alone."""
        if in_flight == 0:
            return True
        if self._refusal is not None:
            return now - self._refusal.sent > self._refusal.wait + SLOW
        if self._proven or now - self._sent_at > SLOW:
            return True
        if self._limit is None:
            return not 0 < self._fitted <= self._sent or self._answered > self._fitted
        return self._answered > 0 and self._sent < self._limit.calls

    def count(self, now: float) -> None:
        """A call goes now."""
        if self._refusal is not None:
            self._infer(self._refusal, now)
            self._begin(now, by_guess=False)
        elif self._limit is not None and self._sent >= self._limit.calls:
            self._rounds += 1
            self._try_more(self._limit)
            self._begin(now, by_guess=True)
        elif self._sent == 0:
            self._round_at = now
        self._sent += 1
        self._sent_at = now
        if self._limit is not None:
            self._limit.count(now)

    def answered(self, sent: float) -> None:
        """A call was answered in full."""
        if sent >= self._round_at:
            self._answered += 1
            self._calls += 1
            self._refusals = 0
            self._proven = self._proven or self._by_guess

    def refused(self, sent: float, told: float | None) -> float:
        """A call was refused. Returns the seconds for which everybody waits."""
        if self._refusal is None:
            self._refusals += 1
            self._refusal = _Refusal(sent, told, told if told is not None else min(64.0, 0.25 * 2**self._refusals))
        self._refusal.sent = min(self._refusal.sent, sent)
        self._longest_wait = max(self._longest_wait, told or 0.0)
        return self._refusal.wait

    def _begin(self, now: float, *, by_guess: bool) -> None:
        self._round_before, self._round_ended, self._round_at = self._round_at, self._sent_at, now
        self._sent = self._answered = 0
        self._by_guess = by_guess

    def _infer(self, refusal: _Refusal, now: float) -> None:
        """What the round that just ended with a refusal says of the limit."""
        limit, rounds = self._limit, self._rounds
        self._refusal = None
        self._rounds = self._calls = 0
        alike = self._answered > 0 and 0.4 * self._fitted <= self._answered <= 1.25 * self._fitted
        if limit is None and not alike:
            self._fitted = self._answered
        elif limit is None:
            self._measure(refusal, now)
        elif self._tried:
            self._limit = _Sliding(Limit(limit.calls - self._tried, limit.seconds))
            self._tried, self._step = 0, 1
            self._patience *= 2
        elif self._proven and rounds >= self._doubt:
            # The guess held before: a call that came early or late to the server fell into the wrong window.
            self._doubt = self.DOUBT
            self._limit = _Sliding(Limit(limit.calls, limit.seconds), guard=2 * limit.guard)
        elif self._by_guess and self._answered < limit.calls / 2:
            self._too_soon(limit, refusal, now)
        else:
            self._measure(refusal, now)

    def _measure(self, refusal: _Refusal, now: float) -> None:
        """The round began with a new window: what was answered in it is what fits."""
        self._fitted = max(1, self._answered)
        self._limit = _Sliding(Limit(self._fitted, max(refusal.window(self._round_at, now), self._longest_wait)))
        self._proven = False
        self._cuts = self._doubt = 0

    def _too_soon(self, limit: _Sliding, refusal: _Refusal, now: float) -> None:
        """Refused soon after the limit was thought to have opened: too many calls fit before, or the window is longer.

        A round that filled much of the window may have begun in the one before, so that too many seemed to fit.
        """
        long = self._round_ended - self._round_before > limit.seconds / 2
        if self._answered == 0 and long and self._cuts < self.MOST_CUTS:
            self._cuts += 1
            self._limit = _Sliding(Limit(math.ceil(limit.calls * 0.95), limit.seconds))
        else:
            seconds = max(refusal.window(self._round_before, now), limit.seconds * 1.02)
            self._limit = _Sliding(Limit(self._fitted, seconds))
            self._cuts = self._doubt = 0
        self._proven = False

    def _try_more(self, limit: _Sliding) -> None:
        """Raise the limit a little after a long steady time, in growing steps while that goes well."""
        steady = self._rounds >= self.STEADY_ROUNDS * self._patience and self._calls >= self.STEADY_CALLS * self._patience
        went_well = self._tried > 0
        if went_well:
            self._step *= 2
        if self._proven and (steady or went_well):
            self._tried = self._step
            limit.raise_by(self._step)


@dataclass(slots=True)
class _Refusal:
    sent: float
    told: float | None
    wait: float

    def window(self, opened: float, now: float) -> float:
        """Seconds of the window that opened (at the latest) with the call at `opened` and refused this one."""
        if self.told is None:
            return now - opened
        if self.told.is_integer() and self.told >= 1:
            return max(1.0, math.floor(self.sent + self.told - 1 - opened) + 1.0)
        return max(0.01, self.sent + self.told - opened)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the answer asks to wait: a number, or a date against the answer's own clock."""
    value = headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    until = email.utils.parsedate_tz(value)
    return None if until is None else max(0.0, email.utils.mktime_tz(until) - _server_time(headers))


def _server_time(headers: Mapping[str, str]) -> float:
    """The server's clock when it answered. Its Date has whole seconds, so a clock that agrees with ours is taken as ours.

    Another one is taken to be at its second's beginning: what is waited for then comes up to a second late, never early.
    """
    here = time.time()
    date = email.utils.parsedate_tz(headers.get("Date", ""))
    there = email.utils.mktime_tz(date) if date else here
    return here if abs(there + 0.5 - here) < 2 else there
