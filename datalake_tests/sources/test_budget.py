"""Limits kept, learned and shared, against servers that count the calls of fixed windows. Real HTTP, short windows."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest

from datalake.sources.base import QuotaSpent, Transient
from datalake.sources.budget import LONGEST_PAUSE, Budget, Limit
from datalake_tests.sources.scripted import QUICK, Asked, Reply, reading, serving, wait_until


class Windows:
    """A script that allows `calls` in each window of `seconds`, and says so as `tells`: `headers`, `retry-after`, or `clock`
    (headers in whole seconds of a clock that stands still in another year)."""

    def __init__(self, calls: int, seconds: float, tells: str, latency: float = 0.01, passed: float = 0.0) -> None:
        self.calls = calls
        self.seconds = seconds
        self.tells = tells
        self.latency = latency
        self.served: Counter[int] = Counter()
        self.limited = 0
        self.answered: list[str] = []
        self._lock = threading.Lock()
        self._start = time.time() - passed

    def __call__(self, asked: Asked) -> Reply:
        with self._lock:
            now = time.time()
            window, passed = divmod(now - self._start, self.seconds)
            left = self.seconds - passed
            allowed = self.served[int(window)] < self.calls
            self.served[int(window)] += allowed
            headers = {}
            if self.tells == "headers":
                remaining = self.calls - self.served[int(window)]
                headers = {
                    "X-RateLimit-Limit": str(self.calls),
                    "X-RateLimit-Remaining": str(remaining),
                    "X-RateLimit-Reset": f"{now + left:.3f}",
                }
            if self.tells == "clock":
                remaining = self.calls - self.served[int(window)]
                headers = {
                    "X-RateLimit-Limit": str(self.calls),
                    "X-RateLimit-Remaining": str(remaining),
                    "X-RateLimit-Reset": str(1_767_225_600 + math.ceil(left)),
                    "Date": "Thu, 01 Jan 2026 00:00:00 GMT",
                }
            if allowed:
                self.answered.append(asked.path)
            else:
                self.limited += 1
                headers |= {"Retry-After": str(math.ceil(left))} if self.tells != "clock" else {}
        time.sleep(self.latency)
        return Reply(b"{}", 200 if allowed else 429, headers)


def work(script: Windows, calls: int, budget: Budget) -> None:
    """Make the calls, 16 at once; all must be answered once."""
    with serving(script) as server, reading(server.url, budget=budget) as run:
        list(run.workers.each(range(calls), lambda n: run.http.get("sample.x", f"/{n}")))
    assert sorted(script.answered) == sorted(f"/{n}" for n in range(calls))


@pytest.mark.parametrize("calls", [3, 40])
def test_a_limit_told_in_headers_is_never_crossed(calls: int) -> None:
    script = Windows(calls, 0.4, "headers")
    work(script, calls * 5, Budget())
    assert script.limited == 0
    assert len(script.served) <= 7


def test_a_limit_told_by_another_clock_in_whole_seconds_is_never_crossed() -> None:
    script = Windows(20, 1.9, "clock")
    work(script, 60, Budget())
    assert script.limited == 0


@pytest.mark.parametrize("calls", [3, 40])
def test_a_declared_limit_is_kept(calls: int) -> None:
    script = Windows(calls, 0.4, "retry-after")
    work(script, calls * 5, Budget([Limit(calls, 0.4)]))
    assert script.limited <= calls * 5 // 100  # a busy machine may bring a call to the server late


def test_calls_of_others_count_as_well() -> None:
    budget = Budget([Limit(3, 0.4)])
    budget.leave(budget.enter("one"))
    budget.spend(2)
    ticket = budget.enter("one")
    assert ticket.waited >= 0.35
    budget.leave(ticket)


def test_a_limit_of_each_operation_binds_that_operation_alone() -> None:
    budget = Budget(each_operation=Limit(2, 5.0))
    began = time.monotonic()
    for operation in "abc":
        for _ in range(2):
            budget.leave(budget.enter(operation), {})
    assert time.monotonic() - began < 1
    entered = threading.Event()
    threading.Thread(target=lambda: (budget.enter("a"), entered.set()), daemon=True).start()
    assert not entered.wait(0.3)
    budget.leave(budget.enter("d"), {})


def test_a_limit_that_only_refuses_is_learned() -> None:
    """Five calls a second, less than are made at once: after the first refusals none, and hardly a window unused."""
    script = Windows(5, 1.0, "retry-after")
    work(script, 30, Budget())
    assert script.limited <= 4
    assert len(script.served) <= 8
    full = [count for _, count in sorted(script.served.items())][2:-1]
    assert full == [5] * len(full)


@pytest.mark.slow
@pytest.mark.parametrize("passed", [0.3, 1.2, 1.8])
def test_a_window_that_seemed_shorter_is_found_out(passed: float) -> None:
    """Two seconds, met when part of the first window has passed: the wait that the first refusal names is too short a hint."""
    script = Windows(5, 2.0, "retry-after", passed=passed)
    work(script, 45, Budget())
    counts = [count for _, count in sorted(script.served.items())]
    assert counts[5:-1] == [5] * (len(counts) - 6)
    assert script.limited <= 10


def test_a_limit_that_was_learned_too_low_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datalake.sources.budget._Learned.STEADY_ROUNDS", 3)
    monkeypatch.setattr("datalake.sources.budget._Learned.STEADY_CALLS", 6)
    script = Windows(2, 1.0, "retry-after")
    with serving(script) as server, reading(server.url) as run:
        list(run.workers.each(range(4), lambda n: run.http.get("sample.x", f"/{n}")))
        script.calls = 1000
        began = time.monotonic()
        list(run.workers.each(range(60), lambda n: run.http.get("sample.x", f"/again/{n}")))
        assert time.monotonic() - began < 15  # at two a second it would be thirty


def test_a_429_makes_everybody_wait() -> None:
    times: list[float] = []
    refused: list[float] = []

    def script(asked: Asked) -> Reply:
        times.append(time.monotonic())
        if asked.path == "/5" and not refused:
            refused.append(times[-1])
            return Reply(b"{}", 429, {"Retry-After": "0.5"})
        time.sleep(0.03)
        return Reply(b"{}")

    with serving(script) as server, reading(server.url) as run:
        list(run.workers.each(range(40), lambda n: run.http.get("sample.x", f"/{n}")))
    assert [each for each in times if refused[0] + 0.1 < each < refused[0] + 0.45] == [], "somebody called while all must wait"
    assert max(times) > refused[0] + 0.5


def test_a_stray_refusal_does_not_slow_the_rest() -> None:
    """One call is refused early on (a lock, say), none later: it must not be taken for a limit of a few calls."""
    stray = iter([429])
    with serving(lambda asked: Reply(b"{}", next(stray, 200) if asked.path == "/4" else 200)) as server:
        with reading(server.url) as run:
            began = time.monotonic()
            list(run.workers.each(range(300), lambda n: run.http.get("sample.x", f"/{n}")))
            assert time.monotonic() - began < 4
        assert len(server.asked) == 301


def test_one_slow_call_does_not_hold_the_others() -> None:
    done: list[str] = []

    def script(asked: Asked) -> Reply:
        if asked.path == "/1":
            wait_until(lambda: len(done) >= 40)
        done.append(asked.path)
        return Reply(b"{}")

    with serving(script) as server, reading(server.url, patience=replace(QUICK, read=9, total=9)) as run:
        others = threading.Thread(target=lambda: run.http.get("sample.x", "/1"))
        others.start()
        for number in range(2, 60):
            run.http.get("sample.x", f"/{number}")
        others.join()
    assert done.index("/1") >= 40


def test_limits_of_two_resources_do_not_stop_each_other() -> None:
    """GitHub counts REST and GraphQL apart: one that is used up for an hour leaves the other open."""

    def script(asked: Asked) -> Reply:
        resource = asked.path[1:]
        remaining = {"core": "0", "graphql": "100"}[resource]
        headers = {
            "x-ratelimit-limit": "5000",
            "x-ratelimit-remaining": remaining,
            "x-ratelimit-reset": str(int(time.time()) + 600),
            "x-ratelimit-resource": resource,
        }
        return Reply(b"{}", headers=headers)

    budget = Budget()
    with serving(script) as server, reading(server.url, budget=budget) as run:
        run.http.get("sample.rest", "/core")
        for _ in range(3):
            run.http.get("sample.graph", "/graphql")
        entered = threading.Event()
        threading.Thread(target=lambda: (budget.enter("sample.rest"), entered.set()), daemon=True).start()
        assert not entered.wait(0.3)


def test_a_limit_that_is_shut_for_hours_ends_the_run() -> None:
    def script(_asked: Asked) -> Reply:
        headers = {
            "x-ratelimit-limit": "5",
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": str(time.time() + 2 * LONGEST_PAUSE),
        }
        return Reply(b"{}", headers=headers)

    with serving(script) as server, reading(server.url) as run:
        run.http.get("sample.x", "/1")
        with pytest.raises(QuotaSpent, match=r"sample\.x: the limit on calls opens again in 7,800 s only.*/2"):
            run.http.get("sample.x", "/2")
        assert len(server.asked) == 1


def test_a_pause_longer_than_a_run_is_refused() -> None:
    with pytest.raises(QuotaSpent, match="the day is over"):
        Budget().pause(LONGEST_PAUSE + 1, "the day is over")


def test_waiting_is_told_once_for_all() -> None:
    told = []
    budget = Budget(waiting=lambda seconds, why: told.append((round(seconds, 1), why)))
    budget.pause(0.6, "the vendor says so")
    threads = [threading.Thread(target=lambda: budget.leave(budget.enter("x"), {})) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [(0.6, "the vendor says so")]


def test_a_call_that_fails_gives_its_place_back() -> None:
    budget = Budget(concurrency=2)
    for _ in range(5):
        budget.leave(budget.enter("x"))
    with serving(lambda _asked: Reply(b"", 500)) as server, reading(server.url, budget=budget) as run:
        for _ in range(3):
            with pytest.raises(Transient):
                run.http.get("sample.x", "/")


def test_never_more_in_flight_than_allowed() -> None:
    in_flight = itertools.count()
    now, most = 0, 0
    lock = threading.Lock()

    def script(_asked: Asked) -> Reply:
        nonlocal now, most
        next(in_flight)
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return Reply(b"{}")

    with serving(script) as server, reading(server.url, budget=Budget(concurrency=5)) as run:
        list(run.workers.each(range(100), lambda n: run.http.get("sample.x", f"/{n}")))
    assert 2 <= most <= 5
